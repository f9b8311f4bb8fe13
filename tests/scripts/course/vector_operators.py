class Vector:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y)

    def __mul__(self, factor):
        return Vector(self.x * factor, self.y * factor)

    __rmul__ = __mul__

    def __matmul__(self, other):
        return self.x * other.x + self.y * other.y

    def __abs__(self):
        return (self.x**2 + self.y**2) ** 0.5

    def __eq__(self, other):
        return (self.x, self.y) == (other.x, other.y)

    def __iter__(self):
        yield from (self.x, self.y)

    def __repr__(self):
        return f"Vector({self.x}, {self.y})"


def main():
    a, b = Vector(1, 2), Vector(3, 4)
    return {
        "sum": repr(a + b),
        "scaled": str(3 * a),
        "dot": a @ b,
        "length": abs(b),
        "equal": a == Vector(1, 2),
        "items": list(a),
    }
