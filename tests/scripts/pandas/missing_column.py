import pandas as pd


def main():
    df = pd.DataFrame({"total": [1, 2, 3]})
    return int(df["totl"].sum())
