def main():
    return [[], (), [1, (2, [3])], ("a", 1, None)]
