import pandas as pd


def main():
    people = pd.DataFrame({"id": [1, 2], "name": ["Al", "Bo"]})
    orders = pd.DataFrame({"id": [2, 3], "total": [7.5, 1.0]})
    outer = people.merge(orders, on="id", how="outer", indicator=True).sort_values("id")
    return {
        "inner": people.merge(orders, on="id"),
        "left": people.merge(orders, on="id", how="left"),
        "outer": outer["_merge"].astype(str),
    }
