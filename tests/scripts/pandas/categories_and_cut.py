import pandas as pd


def main():
    ages = pd.Series([5, 30, 44, 80])
    groups = pd.cut(ages, bins=[0, 18, 65, 120], labels=["child", "adult", "senior"])
    counts = groups.value_counts(sort=False)
    return {
        "labels": groups,
        "counts": {str(label): int(n) for label, n in counts.items()},
        "quartile": pd.qcut(ages, 4, labels=False),
    }
