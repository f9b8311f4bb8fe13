import numpy as np


def main():
    return {"items": (float("inf") for _ in range(2)), "long": np.longdouble("0.1"), "rows": [np.array([np.inf])]}
