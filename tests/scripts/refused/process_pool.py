from concurrent.futures import ProcessPoolExecutor


def square(n):
    return n * n


def main():
    with ProcessPoolExecutor(max_workers=2) as pool:
        return list(pool.map(square, range(4)))
