import textwrap


def main():
    rows = [("mayfly", 2, 3.5), ("stonefly", 12, 40.0)]
    lines = [f"{'item':<10}{'qty':>4}{'price':>9}", "-" * 23]
    lines += [f"{name:<10}{count:>4}{price:>9.2f}" for name, count, price in rows]
    lines.append(f"{'TOTAL':<10}{sum(r[1] for r in rows):>4}{sum(r[2] for r in rows):>9.2f}")
    return lines + textwrap.wrap("A note that is too long for one line.", width=24)
