def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)


def main():
    return {n: factorial(n) for n in (5, 20, 30)}
