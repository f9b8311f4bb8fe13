import pandas as pd


def main():
    wide = pd.DataFrame({"name": ["Al", "Bo"], "2023": [1, 2], "2024": [3, 4]})
    long = wide.melt(id_vars="name", var_name="year", value_name="score")
    back = long.pivot(index="name", columns="year", values="score")
    return {"long": long, "wide": back.to_numpy()}
