import pandas as pd


def main():
    frame = pd.DataFrame(
        {"i": [1, 2], "f": [0.5, float("nan")], "s": ["a", None], "b": [True, False]}, index=["x", "y"]
    )
    return {
        "frame": frame,
        "empty": pd.DataFrame(),
        "no_rows": frame[frame["i"] > 9],
        "numbered": pd.DataFrame([[1, 2]]),
    }
