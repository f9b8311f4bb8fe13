import pandas as pd


def main():
    return {
        "repeats": pd.Series([1, 2], index=["a", "a"]),
        "named": pd.Series([1, 2], index=pd.Index(["a", "a"], name="shop"), name="sum"),
        "one text": pd.Series([1, 2], index=["1", 1]),
        "tuples": pd.Series([1, 2], index=pd.Index([(1, 2), None], tupleize_cols=False)),
    }
