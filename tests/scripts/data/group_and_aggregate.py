from collections import defaultdict
from itertools import groupby
from operator import itemgetter

SALES = [("east", "a", 10), ("west", "c", 12), ("east", "b", 20)]


def main():
    totals = defaultdict(int)
    for region, _, amount in SALES:
        totals[region] += amount
    ordered = sorted(SALES, key=itemgetter(0))
    best = [max(group, key=itemgetter(2)) for _, group in groupby(ordered, key=itemgetter(0))]
    whole = sum(totals.values())
    return {
        "sum": dict(sorted(totals.items())),
        "best": best,
        "share": {region: round(100 * amount / whole, 1) for region, amount in totals.items()},
    }
