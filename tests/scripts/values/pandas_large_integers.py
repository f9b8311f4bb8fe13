import pandas as pd


def main():
    return pd.DataFrame({"id": pd.Series([2**53 + 1, 2**64 - 1], dtype="uint64"), "x": [0.5, 1.5]})
