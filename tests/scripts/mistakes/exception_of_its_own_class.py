class OutOfStock(Exception):
    def __init__(self, left):
        self.left = left
        super().__init__(f"only {left} left")


def main():
    raise OutOfStock(2)
