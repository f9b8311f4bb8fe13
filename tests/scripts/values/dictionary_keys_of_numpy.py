import numpy as np


def main():
    values, counts = np.unique(np.array([3, 1, 3]), return_counts=True)
    return {
        "counts": dict(zip(values, counts)),
        "float": {np.float64(0.5): 1},
        "bool": {np.bool_(True): 1},
        "text": {np.str_("a"): 1},
        "date": {np.datetime64("2024-01-01"): 1},
    }
