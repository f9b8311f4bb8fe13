import pandas as pd


def main():
    df = pd.DataFrame({"team": ["a", "a", "b"], "points": [1, 2, 3]})
    table = df.groupby("team").agg({"points": ["sum", "max"]})
    table.columns = ["_".join(column) for column in table.columns]
    return table.reset_index()
