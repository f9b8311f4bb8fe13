count = 0


def increment():
    count += 1


def main():
    increment()
    return count
