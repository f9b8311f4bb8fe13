def main():
    n, k = map(int, input().split())
    numbers = list(map(int, input().split()))
    try:
        input()
    except EOFError:
        pass
    window = best = sum(numbers[:k])
    for i in range(k, n):
        window += numbers[i] - numbers[i - k]
        best = max(best, window)
    return {"n": n, "k": k, "best": best}
