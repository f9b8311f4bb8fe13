import math


def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


def main():
    a, b = 252, 1155
    g = gcd(a, b)
    lcm = a * b // g
    return {"gcd": g, "lcm": lcm, "same_as_math": g == math.gcd(a, b) and lcm == math.lcm(a, b)}
