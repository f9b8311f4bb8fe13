print("loading")
NUMBERS = [1, 2]


def main():
    print("running")
    return sum(NUMBERS)
