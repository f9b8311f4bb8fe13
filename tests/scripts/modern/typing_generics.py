from __future__ import annotations

from typing import Generic, Literal, NamedTuple, NotRequired, Protocol, TypedDict, TypeVar, get_type_hints, runtime_checkable

T = TypeVar("T")


class Stack(Generic[T]):
    def __init__(self) -> None:
        self._items: list[T] = []

    def push(self, item: T) -> Stack[T]:
        self._items.append(item)
        return self

    def drain(self) -> list[T]:
        return [self._items.pop() for _ in range(len(self._items))]


@runtime_checkable
class Greeter(Protocol):
    def greet(self, name: str) -> str: ...


class English:
    def greet(self, name: str) -> str:
        return f"Hello, {name}"


class User(TypedDict):
    name: str
    age: int
    tags: NotRequired[list[str]]


class Rectangle(NamedTuple):
    width: int
    height: int
    kind: Literal["solid", "dashed"] = "solid"


def main() -> dict[str, object]:
    return {
        "stack": Stack[int]().push(1).push(2).push(3).drain(),
        "greets": [isinstance(English(), Greeter), isinstance("", Greeter)],
        "hints": sorted(get_type_hints(User)),
        "required": sorted(name for name in get_type_hints(User) if name != "tags"),
        "rectangle": Rectangle(2, 3).width * Rectangle(2, 3).height,
    }
