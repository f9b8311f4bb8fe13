from decimal import ROUND_HALF_EVEN, Decimal, localcontext


def cents(value):
    return value.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def schedule(principal, yearly_rate, months):
    rate = yearly_rate / 12
    with localcontext() as context:
        context.prec = 50
        payment = cents(principal * rate / (1 - (1 + rate) ** -months))
    rest, rows = principal, []
    for month in range(1, months + 1):
        interest = cents(rest * rate)
        paid = payment if month < months else rest + interest
        rest = rest + interest - paid
        rows.append({"month": month, "payment": paid, "rest": rest})
    return payment, rows


def main():
    payment, rows = schedule(Decimal("1000.00"), Decimal("0.12"), 6)
    interest = sum(row["payment"] for row in rows) - Decimal("1000.00")
    return {"payment": payment, "rows": len(rows), "last": rows[-1], "interest": interest}
