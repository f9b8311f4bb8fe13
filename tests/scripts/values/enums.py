from enum import Enum, IntEnum, IntFlag, StrEnum


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 2


class Name(StrEnum):
    LOW = "low"


class Mode(IntFlag):
    READ = 1
    WRITE = 2


class Pair(Enum):
    ONE = (1, "one")


def main():
    return {
        "enum": Colour.RED,
        "int": Level.HIGH,
        "str": Name.LOW,
        "flag": Mode.READ | Mode.WRITE,
        "tuple": Pair.ONE,
        "in_list": [Colour.RED, Level.HIGH],
    }
