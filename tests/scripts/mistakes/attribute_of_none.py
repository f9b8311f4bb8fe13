import re


def main():
    return re.match(r"(\d+)", "no number").group(1)
