def main():
    squares = []
    for n in range(1, 4):
        squares.append(n * n)
        return squares
