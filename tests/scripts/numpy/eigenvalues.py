import numpy as np


def main():
    matrix = np.array([[2, 1], [1, 2]])
    values, vectors = np.linalg.eigh(matrix)
    return {
        "values": values.round(9),
        "orthogonal": np.allclose(vectors.T @ vectors, np.eye(2)),
        "rebuilt": (vectors * values @ vectors.T).round(9),
    }
