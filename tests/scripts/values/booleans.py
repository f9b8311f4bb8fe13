def main():
    return [True, False, 1, 0]
