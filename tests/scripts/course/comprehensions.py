def main():
    matrix = [[1, 2], [3, 4]]
    return {
        "squares": [n * n for n in range(10) if n % 2 == 0],
        "lengths": {word: len(word) for word in ("a", "bb", "ccc")},
        "unique": sorted({n % 4 for n in (1, 2, 3, 5, 6, 7)}),
        "flat": [n for row in matrix for n in row],
        "parity": ["even" if n % 2 == 0 else "odd" for n in range(3)],
        "transposed": [list(column) for column in zip(*matrix)],
    }
