def product(a, b):
    return [[sum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]


def determinant(m):
    if len(m) == 1:
        return m[0][0]
    return sum(
        (-1) ** c * m[0][c] * determinant([row[:c] + row[c + 1 :] for row in m[1:]]) for c in range(len(m))
    )


def spiral(matrix):
    matrix = [list(row) for row in matrix]
    walk = []
    while matrix:
        walk += matrix.pop(0)
        matrix = [list(row) for row in zip(*matrix)][::-1]
    return walk


def main():
    return {
        "product": product([[1, 2], [3, 4]], [[5, 6], [7, 8]]),
        "determinant": determinant([[6, 1, 1], [4, -2, 5], [2, 8, 7]]),
        "spiral": spiral([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
    }
