import pandas as pd


def main(records):
    return pd.DataFrame(records).groupby("k", as_index=False).sum()
