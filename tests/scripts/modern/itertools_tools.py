from itertools import (
    chain, combinations, compress, groupby, permutations, product, starmap, takewhile, zip_longest,
)


def main():
    return {
        "pairs": ["".join(pair) for pair in combinations("ABC", 2)],
        "dice_7": sum(1 for a, b in product(range(1, 7), repeat=2) if a + b == 7),
        "chain": list(chain([1, 2], (3,), {4})),
        "longest": list(zip_longest([1, 2], "a", fillvalue="-")),
        "runs": "".join(f"{len(list(group))}{key}" for key, group in groupby("aaabba")),
        "permutations": len(list(permutations(range(4)))),
        "starmap": list(starmap(pow, [(2, 3), (3, 2)])),
        "takewhile": list(takewhile(lambda n: n < 3, [1, 2, 3, 1])),
        "compress": list(compress("abc", [1, 0, 1])),
    }
