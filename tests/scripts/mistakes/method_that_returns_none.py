def main():
    values = [3, 1, 2].sort()
    return values[0]
