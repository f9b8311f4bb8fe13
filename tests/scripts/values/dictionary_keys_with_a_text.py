import datetime
import decimal
import enum
import pathlib
import uuid
from fractions import Fraction


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


class Level(enum.IntEnum):
    LOW = 7


def main():
    return {
        datetime.date(2024, 2, 29): "date",
        datetime.datetime(2024, 2, 29, 13, 45): "datetime",
        datetime.time(7, 5): "time",
        datetime.timedelta(seconds=90): "timedelta",
        decimal.Decimal("1.10"): "decimal",
        uuid.UUID(int=5): "uuid",
        pathlib.PurePosixPath("/a/b"): "path",
        Fraction(1, 3): "fraction",
        Colour.RED: "enum of text",
        Colour.TWO: "enum of int",
        Level.LOW: "int enum",
        None: "none",
        False: "bool",
        0.5: "float",
    }
