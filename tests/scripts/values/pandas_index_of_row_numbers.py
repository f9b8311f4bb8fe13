import pandas as pd

sales = pd.DataFrame({"shop": ["Oslo", "Rome", "Oslo", "Paris"], "sum": [5, 10, 15, 20]})


def main():
    return {
        "whole": sales.head(2),
        "filtered": sales[sales["sum"] > 7],
        "all kept": sales[sales["sum"] > 0],
        "sorted": sales.sort_values("sum", ascending=False).tail(2),
        "twice": pd.concat([sales, sales]).iloc[3:5],
        "largest": sales["sum"].nlargest(2),
        "none": sales[sales["sum"] > 99]["sum"],
        "by numbers": pd.Series([1.5, 2.5], index=pd.Index([7, 9])),
    }
