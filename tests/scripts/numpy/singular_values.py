import numpy as np


def main():
    a = np.array([[0.0, 2.0], [3.0, 0.0], [4.0, 0.0]])
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    rank_one = s[0] * np.outer(u[:, 0], vt[0])
    x = np.array([0.0, 1.0, 2.0, 3.0])
    y = 0.25 + 1.5 * x
    slope, intercept = np.linalg.lstsq(np.column_stack([x, np.ones_like(x)]), y, rcond=None)[0]
    return {
        "singular": s.round(6),
        "error": np.linalg.norm(a - rank_one).round(6),
        "fit": [round(float(slope), 6), round(float(intercept), 6)],
        "shape": u.shape,
    }
