TABLE = [
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
    (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
]


def to_roman(n):
    text = ""
    for value, letters in TABLE:
        count, n = divmod(n, value)
        text += letters * count
    return text


def from_roman(text):
    values = [dict((l, v) for v, l in TABLE)[c] for c in text]
    return sum(-a if a < b else a for a, b in zip(values, values[1:] + [0]))


def main():
    return {
        "2024": to_roman(2024),
        "1999": to_roman(1999),
        "round_trip": all(from_roman(to_roman(n)) == n for n in range(1, 4000)),
    }
