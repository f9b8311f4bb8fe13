import pandas as pd

sales = pd.DataFrame({"shop": ["Oslo", "Rome", "Oslo", "Paris"], "sum": [5, 10, 15, 20]})


def main():
    table = sales.assign(kind=["x", "y", "x", "y"])
    return {
        "pivot": table.pivot_table(index="shop", columns="kind", values="sum", aggfunc="sum", fill_value=0),
        "crosstab": pd.crosstab(table["shop"], table["kind"]),
        "totals": table.pivot_table(index="shop", values="sum", aggfunc="sum", margins=True),
    }
