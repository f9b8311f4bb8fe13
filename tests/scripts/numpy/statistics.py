import numpy as np


def main():
    values = np.array([1, 2, 3, 4, 5])
    counts, edges = np.histogram(values, bins=3)
    return {
        "percentiles": np.percentile(values, [25, 50, 75]),
        "histogram": counts,
        "edges": edges.round(4),
        "corr": np.corrcoef(values, -values).round(6),
        "nanmean": np.nanmean([1.0, np.nan, 3.0]),
        "std": round(values.std(), 4),
    }
