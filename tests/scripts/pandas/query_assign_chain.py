import pandas as pd


def main():
    df = pd.DataFrame(
        {
            "item": ["fig", "pear", "nut", "plum"],
            "price": [2.5, 3.0, 0.1, 9.0],
            "count": [2, 4, 10, 0],
        }
    )
    return (
        df[df["count"] > 0]
        .assign(total=lambda d: d["price"] * d["count"])
        .sort_values("total", ascending=False)
        .head(2)
    )
