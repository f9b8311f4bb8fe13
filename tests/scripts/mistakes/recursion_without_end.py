def factorial(n):
    return n * factorial(n - 1)


def main():
    return factorial(5)
