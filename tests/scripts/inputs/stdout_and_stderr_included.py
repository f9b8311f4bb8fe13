import sys


def main():
    print("one")
    print("two", "three")
    print("warn ☂", file=sys.stderr)
    sys.stdout.write("no newline")
    return {"done": True}
