import numpy as np


def main():
    matrix = np.array([[1, 2], [3, 4]])
    return {
        "matrix": matrix,
        "cube": np.zeros((1, 1, 2)),
        "empty": np.array([]),
        "empty_rows": np.empty((2, 0)),
        "bool": np.array([1, 0]) > 0,
        "nan": np.array([1.0, np.nan]),
        "strings": np.array(["a", "bc"]),
        "view": matrix[::-1, 1],
        "fortran": np.asfortranarray(matrix.T),
        "list_of": [np.array([1]), np.array([2])],
    }
