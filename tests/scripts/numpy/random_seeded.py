import numpy as np


def main():
    a = np.random.default_rng(42).integers(0, 100, size=1000)
    b = np.random.default_rng(42).integers(0, 100, size=1000)
    rng = np.random.default_rng(7)
    return {
        "repeats": bool((a == b).all()),
        "in_range": bool(((a >= 0) & (a < 100)).all()),
        "shape": rng.normal(size=(2, 3)).shape,
        "permutation": np.sort(rng.permutation(5)),
        "mean_close": bool(abs(rng.random(100_000).mean() - 0.5) < 0.01),
    }
