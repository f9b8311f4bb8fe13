"""Inventory management example."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Dict, List

logging.basicConfig(format="[%(levelname)s] %(message)s")
logger = logging.getLogger(__name__)


class Category(Enum):
    HARDWARE = "hardware"
    SERVICE = "service"


class InventoryError(Exception):
    """Base class for all inventory errors."""


class NotEnough(InventoryError):
    def __init__(self, item: Item, wanted: int) -> None:
        super().__init__(f"not enough {item.name}: {item.quantity} < {wanted}")


@dataclass
class Item:
    sku: str
    name: str
    quantity: int
    price: Decimal
    category: Category

    @property
    def value(self) -> Decimal:
        return self.price * self.quantity


@dataclass
class Inventory:
    items: Dict[str, Item] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        self.items[item.sku] = item

    def remove(self, sku: str, quantity: int) -> None:
        item = self.items[sku]
        if item.quantity < quantity:
            raise NotEnough(item, quantity)
        item.quantity -= quantity
        if item.quantity < 3:
            logger.warning("low stock: %s (%d left)", item.name, item.quantity)

    def value_by_category(self) -> Dict[str, Decimal]:
        totals: Dict[str, Decimal] = defaultdict(Decimal)
        for item in self.items.values():
            totals[item.category.value] += item.value
        return dict(totals)


def main() -> dict:
    inventory = Inventory()
    inventory.add(Item("W-1", "widget", 10, Decimal("4.99"), Category.HARDWARE))
    inventory.add(Item("T-9", "tutorial", 50, Decimal("19.00"), Category.SERVICE))
    errors: List[str] = []
    for quantity in (8, 5):
        try:
            inventory.remove("W-1", quantity)
        except InventoryError as error:
            errors.append(str(error))
    totals = inventory.value_by_category()
    return {
        "items": list(inventory.items.values()),
        "value": sum(totals.values()),
        "by_category": totals,
        "errors": errors,
    }


if __name__ == "__main__":
    logging.getLogger(__name__).debug("finished")
