import numpy as np


def main():
    grid = np.arange(12).reshape(3, 4)
    return {
        "mask": grid[grid > 5],
        "picked": grid[[0, 1, 2], [0, 1, 2]],
        "where": np.where(grid > 5, 1, 0),
        "centred": grid.mean(axis=1) - grid.mean(),
        "table": np.arange(1, 3)[:, None] * np.arange(1, 4),
        "sum_by_column": grid.sum(axis=0),
    }
