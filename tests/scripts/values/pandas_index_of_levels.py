import pandas as pd

sales = pd.DataFrame({"shop": ["Oslo", "Rome", "Oslo", "Paris"], "sum": [5, 10, 15, 20]})


def main():
    return {
        "two": sales.assign(big=sales["sum"] > 9).groupby(["shop", "big"])["sum"].sum(),
        "sizes": sales.groupby(["shop", "sum"]).size().head(1),
        "frame": sales.groupby(["shop", "sum"]).agg(n=("sum", "count")).head(1),
        "unnamed": pd.Series([1, 2], index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
        "stacked": pd.DataFrame({"x": [1]}, index=["row"]).stack(),
        "counts": sales[["shop"]].value_counts().sort_index(),
    }
