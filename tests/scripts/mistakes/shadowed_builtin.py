def main():
    list = [1, 2]
    return list(range(3))
