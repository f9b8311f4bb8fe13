import pandas as pd


def main():
    days = pd.Series([1, 2, 3], index=pd.date_range("2024-01-31", periods=3))
    return {
        "days": days,
        "months": days.resample("MS").sum(),
        "zoned": days.tz_localize("Europe/Oslo").head(1),
        "periods": pd.Series([1], index=pd.period_range("2024-01", periods=1, freq="M")),
        "durations": pd.Series([1], index=pd.to_timedelta(["90s"])),
        "ranges": pd.cut(pd.Series([1, 2, 9]), [0, 5, 10]).value_counts(),
        "categories": pd.Series(["b", "a", "b"], dtype="category").value_counts(),
        "floats": pd.Series([1, 2, 3]).quantile([0.25, 0.5]),
        "truth": pd.Series([True, False, True]).value_counts(),
        "frame": days.to_frame("n").head(1),
    }
