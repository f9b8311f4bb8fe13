import sys


def main():
    first = sys.stdin.readline().rstrip("\n")
    rest = [line.rstrip("\n") for line in sys.stdin]
    return {"first": first, "rest": rest, "end": sys.stdin.read()}
