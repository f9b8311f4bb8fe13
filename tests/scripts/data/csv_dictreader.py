import csv
import io
from collections import defaultdict

TEXT = '''city,amount,note
Oslo,12.00,plain
Rome,12.50,"large,
with ""care"""
Oslo,20.00,
'''


def main():
    rows = list(csv.DictReader(io.StringIO(TEXT)))
    cities = defaultdict(float)
    for row in rows:
        cities[row["city"]] += float(row["amount"])
    return {"rows": len(rows), "total": sum(cities.values()), "note": rows[1]["note"], "cities": cities}
