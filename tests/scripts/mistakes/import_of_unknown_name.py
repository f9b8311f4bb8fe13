from math import squareroot


def main():
    return squareroot(4)
