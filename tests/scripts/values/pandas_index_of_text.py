import pandas as pd

sales = pd.DataFrame({"shop": ["Oslo", "Rome", "Oslo", "Paris"], "sum": [5, 10, 15, 20]})


def main():
    return {
        "described": sales.describe().loc[["count", "mean", "max"]],
        "row": sales.iloc[0],
        "correlation": pd.DataFrame({"a": [1, 2, 3], "b": [3, 2, 1]}).corr(),
        "missing": sales.isna().sum(),
        "turned": sales.head(2).T,
        "aggregated": sales["sum"].agg(["min", "max"]),
        "types": sales[["sum"]].dtypes,
    }
