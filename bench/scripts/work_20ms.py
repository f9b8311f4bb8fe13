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
    return collatz(3400)
