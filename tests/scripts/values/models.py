import sys
import types
from dataclasses import dataclass, field
from datetime import date


class Attribute:
    def __init__(self, name):
        self.name = name


class Point:
    """As attrs makes it, without the library."""

    __attrs_attrs__ = (Attribute("x"), Attribute("y"))

    def __init__(self, x, y):
        self.x, self.y, self._cache = x, y, None


class Old:
    """As a pydantic model of version 1."""

    __fields__ = {"id": int}

    def dict(self):
        return {"id": 7}


class Model:
    """As a pydantic model, without the library."""

    def __init__(self, **fields):
        self._fields_set = fields

    def model_dump(self):
        return dict(self._fields_set)


@dataclass
class Report:
    title: str
    rows: object
    total: int = field(init=False, default=7)


@dataclass
class Shadowed:
    radius: float

    @property
    def radius(self):
        return 2.5

    @radius.setter
    def radius(self, value):
        pass


def main():
    rows = (Model(id=number, day=date(2024, 1, number)) for number in (1, 2))
    sys.modules["attr"] = types.SimpleNamespace(Attribute=Attribute)
    return {"point": Point(1, 2), "old": Old(), "report": Report("daily", rows), "property": Shadowed(1.0)}
