import sys


def main():
    print("checking")
    sys.exit("bad input")
