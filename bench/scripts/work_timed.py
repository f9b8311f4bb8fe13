# The work of work_20ms.py, timed from inside: what a script's own code takes, start and answer left out.
import time


def collatz(limit):
    longest = best = 0
    for start in range(1, limit):
        number, steps = start, 0
        while number != 1:
            number = 3 * number + 1 if number & 1 else number >> 1
            steps += 1
        if steps > longest:
            longest, best = steps, start
    return {"start": best, "steps": longest}


def main():
    began = time.perf_counter()
    collatz(3400)
    return (time.perf_counter() - began) * 1e6
