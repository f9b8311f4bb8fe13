import pandas as pd


def main():
    return {
        "timestamp": pd.Timestamp("2024-01-31 12:30"),
        "micro": pd.Timestamp("2024-01-31 00:00:00.000250"),
        "zone": pd.Timestamp("2024-07-01 12:00", tz="Europe/Oslo"),
        "delta": pd.Timedelta("90.5s"),
        "nat": pd.NaT,
        "na": pd.NA,
        "series": pd.Series(pd.to_datetime(["2024-01-31", None])),
        "deltas": pd.Series([pd.Timedelta("90.5s"), None]),
        "frame": pd.DataFrame({"t": [pd.Timestamp("2024-02-01")], "d": [pd.Timedelta("250ms")]}),
    }
