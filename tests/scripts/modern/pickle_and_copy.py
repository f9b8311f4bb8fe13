import copy
import pickle
import sys


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return isinstance(other, Point) and vars(self) == vars(other)


def main():
    point = Point(1, [2, 3])
    loaded = pickle.loads(pickle.dumps(point))
    original = [[1]]
    shallow, deep = copy.copy(original), copy.deepcopy(original)
    original[0].append(2)
    return {
        "equal": loaded == point,
        "same_object": loaded is point,
        "deep": [shallow[0], deep[0]],
        "module_found": sys.modules[Point.__module__].Point is Point,
    }
