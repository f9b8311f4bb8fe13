import pandas as pd


def main():
    df = pd.DataFrame({"team": list("aabbb"), "points": [10, 20, 10, 20, 30]})
    table = df.groupby("team").agg(
        n=("points", "size"), mean=("points", "mean"), best=("points", "max")
    )
    share = df["points"] / df.groupby("team")["points"].transform("sum")
    return {
        "table": table.reset_index(),
        "share": share.round(3),
        "top": {team: int(best) for team, best in table["best"].items()},
    }
