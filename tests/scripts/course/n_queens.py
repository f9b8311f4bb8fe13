def queens(n, row=0, columns=()):
    if row == n:
        yield list(columns)
        return
    for column in range(n):
        if all(c != column and abs(c - column) != row - r for r, c in enumerate(columns)):
            yield from queens(n, row + 1, columns + (column,))


def main():
    found = list(queens(8))
    return {"solutions": len(found), "first": found[0]}
