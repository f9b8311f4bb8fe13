import numpy as np


def main():
    a = np.array([[2.0, 1.0, -1.0], [-3.0, -1.0, 2.0], [-2.0, 1.0, 2.0]])
    b = np.array([8.0, -11.0, -3.0])
    x = np.linalg.solve(a, b)
    return {
        "solution": np.round(x, 6),
        "residual_small": bool(np.allclose(a @ x, b)),
        "determinant": round(float(np.linalg.det(a)), 6),
        "rank": np.linalg.matrix_rank(a),
        "identity": np.allclose(a @ np.linalg.inv(a), np.eye(3)),
    }
