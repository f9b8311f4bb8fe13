import math


def main():
    return [0.0, 1.0, -2.5, 0.1, 0.1 + 0.2, math.pi, 123456789.125, 1e-4]
