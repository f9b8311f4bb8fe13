from collections import Counter


def step(live):
    neighbours = Counter(
        (r + dr, c + dc) for r, c in live for dr in (-1, 0, 1) for dc in (-1, 0, 1) if (dr, dc) != (0, 0)
    )
    return {cell for cell, n in neighbours.items() if n == 3 or (n == 2 and cell in live)}


def main():
    glider = {(0, 1), (1, 2), (2, 0), (2, 1), (2, 2)}
    live = glider
    for _ in range(4):
        live = step(live)
    moved = live == {(r + 1, c + 1) for r, c in glider}
    board = ["".join("#" if (r, c) in live else "." for c in range(6)) for r in range(5)]
    return {"moved": moved, "board": board}
