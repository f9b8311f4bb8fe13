import pandas as pd


def main():
    return {
        "ints": pd.Series([1, 2], index=["a", "b"]),
        "floats": pd.Series([0.5, None]),
        "text": pd.Series(["a", None]),
        "bools": pd.Series([True]),
        "nullable": pd.Series([1, None, 3], dtype="Int64"),
        "nullable_bool": pd.Series([True, None], dtype="boolean"),
        "category": pd.Series(["lo", "hi", "lo"], dtype="category"),
        "empty": pd.Series([], dtype="float64"),
    }
