def main(odd, large, negative, tenth):
    return {"back": [odd, large, negative, tenth], "next": large + 1, "exact": tenth == 1 / 10}
