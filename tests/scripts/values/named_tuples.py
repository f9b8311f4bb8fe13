from collections import namedtuple
from typing import NamedTuple

Point = namedtuple("Point", "x y")


class Person(NamedTuple):
    name: str
    at: Point


def main():
    return [Point(1, 2), Person("Ada", Point(3, 4))]
