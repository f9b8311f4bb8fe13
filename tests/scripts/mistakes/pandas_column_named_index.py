import pandas as pd


def main():
    return pd.DataFrame({"index": [1]}, index=["a"])
