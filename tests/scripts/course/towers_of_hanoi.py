def hanoi(n, source, spare, target):
    if n == 0:
        return
    yield from hanoi(n - 1, source, target, spare)
    yield f"{source}->{target}"
    yield from hanoi(n - 1, spare, source, target)


def main():
    moves = list(hanoi(3, "A", "B", "C"))
    return {"moves": len(moves), "list": moves}
