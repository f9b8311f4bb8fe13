import pandas as pd

sales = pd.DataFrame({"shop": ["Oslo", "Rome", "Oslo", "Paris"], "sum": [5, 10, 15, 20]})


def main():
    return {"table": sales.set_index("shop", drop=False)}
