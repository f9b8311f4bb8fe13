from collections import Counter, OrderedDict, defaultdict


def main():
    default = defaultdict(list)
    default["k"].append(1)
    return {"counter": Counter("aab"), "ordered": OrderedDict([("z", 1), ("a", 2)]), "default": default}
