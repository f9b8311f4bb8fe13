def main():
    total = 0
    for n in range(10**10):
        total += n * n
    return total
