import io

import pandas as pd


def main():
    df = pd.DataFrame(
        {
            "name": ["Al", "Bo, jr"],
            "score": [1.5, None],
            "day": pd.to_datetime(["2024-01-31", "2024-02-01"]),
        }
    )
    buffer = io.StringIO()
    df.to_csv(buffer, index=False, float_format="%.2f")
    return buffer.getvalue()
