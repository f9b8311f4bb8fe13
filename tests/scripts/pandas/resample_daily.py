import pandas as pd


def main():
    hours = pd.date_range("2024-01-01", periods=48, freq="h")
    readings = pd.DataFrame({"time": hours, "value": range(48)})
    return readings.set_index("time").resample("D").sum().reset_index()
