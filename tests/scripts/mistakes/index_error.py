def main():
    values = [1, 2, 3]
    return [values[i] for i in range(4)]
