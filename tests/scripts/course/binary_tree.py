from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional


@dataclass
class Tree:
    value: int
    left: Optional[Tree] = None
    right: Optional[Tree] = None

    def insert(self, value: int) -> None:
        side = "left" if value < self.value else "right"
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Tree(value))
        else:
            child.insert(value)

    def __iter__(self) -> Iterator[int]:
        if self.left:
            yield from self.left
        yield self.value
        if self.right:
            yield from self.right

    def depth(self) -> int:
        return 1 + max(self.left.depth() if self.left else 0, self.right.depth() if self.right else 0)


def main():
    root = Tree(8)
    for value in (3, 10, 1, 6):
        root.insert(value)
    return {"sorted": list(root), "depth": root.depth(), "tree": root}
