import csv
import io
import itertools


def squares(n):
    for i in range(n):
        yield i * i


class Countdown:
    def __init__(self, start):
        self.left = start

    def __iter__(self):
        return self

    def __next__(self):
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        return self.left


def main():
    return {
        "generator": squares(4),
        "expression": (word.upper() for word in ["a", "b"]),
        "nested": [squares(2), {"deeper": squares(3)}],
        "of generators": (squares(n) for n in range(3)),
        "map": map(len, ["a", "bb"]),
        "filter": filter(None, [0, 1, 2]),
        "zip": zip("ab", [1, 2]),
        "enumerate": enumerate("ab"),
        "reversed": reversed([1, 2, 3]),
        "islice": itertools.islice(itertools.count(5), 3),
        "groups": itertools.groupby(["apple", "avocado", "beet"], key=lambda word: word[0]),
        "reader": csv.reader(io.StringIO("a,b\nc,d\n")),
        "own": Countdown(3),
    }
