import pandas as pd

sales = pd.DataFrame({"shop": ["Oslo", "Rome", "Oslo", "Paris"], "sum": [5, 10, 15, 20]})


def main():
    by_shop = sales.groupby("shop").sum()
    return {
        "frame": by_shop,
        "series": by_shop["sum"],
        "counts": sales["shop"].value_counts(),
        "of numbers": sales.set_index("sum"),
        "of numbers, series": sales.set_index("sum")["shop"],
        "one row": by_shop[by_shop["sum"] > 15],
        "no row": by_shop[by_shop["sum"] > 99]["sum"],
        "row numbers with a name": sales.rename_axis("row").head(1),
    }
