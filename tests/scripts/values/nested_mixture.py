import datetime
import decimal
import enum
from collections import namedtuple
from dataclasses import dataclass

At = namedtuple("At", "x")


class Kind(enum.Enum):
    K = "k"


@dataclass
class Meta:
    kinds: tuple
    raw: bytes


def main():
    row = {
        "id": 1,
        "when": datetime.date(2024, 1, 1),
        "price": decimal.Decimal("9.99"),
        "tags": {"a"},
        "at": At(0.5),
    }
    return {"rows": [row], "meta": Meta((Kind.K,), b"\x01")}
