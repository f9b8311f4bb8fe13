import math


def main():
    return {"nan": math.nan, "list": [float("inf"), float("-inf"), 1.5], "computed": 1e308 * 10}
