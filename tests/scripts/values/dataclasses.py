from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Size:
    w: int = 0
    h: float = 0.0


@dataclass
class Box:
    name: str
    size: Size
    parts: list = field(default_factory=list)
    tags: set = field(default_factory=set)
    count = 3  # no annotation, so no field


def main():
    return Box("box", Size(1, 2.5), [Size()], {"a"})
