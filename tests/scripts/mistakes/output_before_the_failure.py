import sys


def main():
    print("step 1")
    print("careful", file=sys.stderr)
    print("step 2")
    return {"a": 1}["b"]
