import pandas as pd


def main():
    df = pd.DataFrame({"city": ["Oslo", "Rome", "Oslo"], "sales": [10, 5, 20]})
    return df.groupby("city", as_index=False)["sales"].sum()
