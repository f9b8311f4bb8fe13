def größe(wörter):
    return len(wörter)


def main():
    π = 3.14
    n = größe(["ein", "zwei", "drei"])
    print(f"größe: {n} ✓")
    return {"größe": n, "π": π, "文字": list("漢字")}
