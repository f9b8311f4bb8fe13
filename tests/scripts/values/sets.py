def main():
    return {"empty": set(), "one": {1}, "frozen": frozenset("a"), "sorted": sorted({3, 1, 2})}
