import cmath


def main():
    return cmath.sqrt(-1)
