import pandas as pd


def main():
    days = pd.to_datetime(["2024-01-01", "2024-01-04"])
    sparse = pd.Series([1.0, 4.0], index=days)
    filled = sparse.resample("D").interpolate()
    ones = pd.Series(1, index=pd.date_range("2024-01-01", "2024-02-29", freq="D"))
    monthly = ones.resample("MS").sum()
    return {
        "filled": filled,
        "months": [f"{month:%Y-%m}" for month in monthly.index],
        "monthly": monthly,
        "rolling": filled.rolling(2).mean(),
    }
