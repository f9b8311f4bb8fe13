from dataclasses import dataclass

import pandas as pd


@dataclass
class Report:
    name: str
    tables: dict
    columns: list


def main():
    return Report("report", {"a": pd.DataFrame({"x": [1]})}, [pd.Series([1, 2])])
