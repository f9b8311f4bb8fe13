def main():
    n, name = 42, "Ada"
    return [
        f"{n:>5}|{n:<5}|{n:^6}|{n:05d}",
        f"{1234567.891:,.2f}",
        f"{0.125:.1%}",
        f"{10:#b} {10:#o} {10:#x} {10:X}",
        f"{3.14159:+.2f}",
        "{:>{width}}".format("right", width=7),
        f"{name=}",
        "%d items, %.2f each" % (7, 2.5),
        f"{{literal}}",
    ]
