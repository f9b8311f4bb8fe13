import json
import sys


def main():
    return sum(json.load(sys.stdin)["numbers"])
