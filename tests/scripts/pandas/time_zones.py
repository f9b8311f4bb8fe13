import pandas as pd


def main():
    local = pd.Series(pd.to_datetime(["2024-07-01 12:00", "2024-12-01 12:00"])).dt.tz_localize("Europe/Oslo")
    return {
        "utc": local.dt.tz_convert("UTC"),
        "hours": local.dt.hour,
        "first": local[0],
        "gap_days": (local[1].tz_localize(None) - local[0].tz_localize(None)).days,
    }
