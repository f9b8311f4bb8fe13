import numpy as np


def main():
    values = np.empty(4, dtype=object)
    values[0], values[1], values[2], values[3] = 1, "two", None, [3, 4]
    return values
