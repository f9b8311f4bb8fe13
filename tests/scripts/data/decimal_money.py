from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")


def money(value):
    return value.quantize(CENT, rounding=ROUND_HALF_UP)


def main():
    basket = [("pen", Decimal("1.49"), 3), ("book", Decimal("12.345"), 1)]
    lines = [{"item": item, "total": money(price * count)} for item, price, count in basket]
    net = sum(line["total"] for line in lines)
    vat = money(net * Decimal("0.19"))
    return {
        "lines": lines,
        "net": net,
        "vat": vat,
        "gross": net + vat,
        "float_would_say": 0.1 + 0.2,
        "exact": Decimal("0.1") + Decimal("0.2") == Decimal("0.3"),
    }
