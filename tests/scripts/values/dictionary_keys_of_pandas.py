import pandas as pd


def main():
    return {
        pd.Timestamp("2024-01-01 12:00"): "timestamp",
        pd.Period("2024-01", freq="M"): "period",
        pd.Interval(0, 1): "interval",
        pd.Timedelta("1.5s"): "timedelta",
        pd.NaT: "nothing",
    }
