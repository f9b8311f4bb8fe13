from collections import UserDict


class Name(str):
    pass


class Metres(float):
    def __str__(self):
        return f"{float(self)} m"


class Count(int):
    pass


class Basket(list):
    def total(self):
        return sum(self)


class Point(tuple):
    pass


class Defaults(dict):
    def __missing__(self, key):
        return 0


class Visible(dict):
    def items(self):
        return [(key, value) for key, value in super().items() if not key.startswith("_")]


class Twice(list):
    def __iter__(self):
        for item in super().__iter__():
            yield item
            yield item


class Settings(UserDict):
    pass


def main():
    return {
        "str": Name("Ada"),
        "float": Metres(1.5),
        "int": Count(3),
        "list": Basket([1, 2]),
        "tuple": Point((1, 2)),
        "dict": Defaults(a=1),
        "set": type("Tags", (set,), {})(["x"]),
        "bytes": type("Blob", (bytes,), {})(b"hello"),
        "own items": Visible(a=1, _hidden=2),
        "own iteration": Twice("ab"),
        "mapping": Settings(debug=True),
        "as a key": {Name("key"): Count(1)},
    }
