from dataclasses import dataclass


@dataclass
class Circle:
    radius: float


def describe(value):
    match value:
        case 0:
            return "zero"
        case (x, y) if isinstance(value, tuple):
            return f"a point at {x}, {y}"
        case [first, *rest]:
            return f"list of {first}, then {rest}"
        case Circle(radius=r):
            return f"circle of radius {r}"
        case str() as text:
            return f"text {text!r}"
        case {"user": {"name": name}}:
            return f"user {name}"
        case _:
            return "something else"


def main():
    return [describe(v) for v in (0, (1, 2), [1, 2, 3], Circle(3), "hi", {"user": {"name": "Ada"}}, 4.5)]
