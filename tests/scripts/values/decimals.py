from decimal import Decimal


def main():
    return [Decimal("1.10"), Decimal("0.1"), Decimal(-3), Decimal("12345678901234567890.123456789")]
