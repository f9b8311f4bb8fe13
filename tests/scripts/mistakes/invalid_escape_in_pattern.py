import re


def main():
    return re.findall("\d+", "12 and 7")
