import math
from abc import ABC, abstractmethod


class Shape(ABC):
    @abstractmethod
    def area(self): ...


class Circle(Shape):
    def __init__(self, radius):
        self.radius = radius

    def area(self):
        return round(math.pi * self.radius**2, 2)


class Rectangle(Shape):
    def __init__(self, width, height):
        self.width, self.height = width, height

    def area(self):
        return self.width * self.height


class Square(Rectangle):
    def __init__(self, side):
        super().__init__(side, side)


def main():
    shapes = [Circle(2), Rectangle(2, 3), Square(3)]
    try:
        Shape()
    except TypeError as error:
        abstract = str(error).split(" with")[0].split(" without")[0]
    return {
        "areas": {type(shape).__name__: shape.area() for shape in shapes},
        "mro": [cls.__name__ for cls in Square.__mro__],
        "abstract": abstract,
    }
