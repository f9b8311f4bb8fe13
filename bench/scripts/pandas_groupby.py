import pandas as pd


def main():
    frame = pd.DataFrame({"team": ["a", "b", "a"], "points": [1, 2, 3]})
    return frame.groupby("team")["points"].sum().to_dict()
