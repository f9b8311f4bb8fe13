import numpy as np
import pandas as pd


def main():
    years = np.arange(1, 41)
    balance = 1000 * np.cumprod(np.full(len(years), 1.05))
    df = pd.DataFrame({"year": years, "balance": balance.round(2)})
    return {
        "final": df.loc[df["year"] == 10, "balance"].iloc[0],
        "formula": round(1000 * 1.05**10, 2),
        "doubling_years": df.loc[df["balance"] >= 2000, "year"].min(),
        "table": df.head(2),
    }
