import io

import pandas as pd

TEXT = """id,price,city
1,9.5, Oslo
2,n/a?,ROME
2,n/a?,ROME
3,7.25,
"""


def main():
    df = pd.read_csv(io.StringIO(TEXT)).drop_duplicates()
    df["price"] = pd.to_numeric(df["price"], errors="coerce")
    df["city"] = df["city"].str.strip().str.lower()
    return {
        "rows": df,
        "missing": {column: int(count) for column, count in df.isna().sum().items()},
        "mean": df["price"].mean(),
    }
