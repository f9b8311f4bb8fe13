def fib(n, seen={0: 0, 1: 1}):
    if n not in seen:
        seen[n] = fib(n - 1) + fib(n - 2)
    return seen[n]


def main():
    return [fib(n) for n in range(10)] + [fib(100)]
