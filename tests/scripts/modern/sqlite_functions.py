import sqlite3


class Product:
    def __init__(self):
        self.value = 1

    def step(self, n):
        self.value *= n

    def finalize(self):
        return self.value


def main():
    with sqlite3.connect(":memory:") as db:
        db.create_function("slug", 1, lambda text: text.lower().replace(" ", "-"), deterministic=True)
        db.create_aggregate("product", 1, Product)
        db.execute("CREATE TABLE n AS SELECT 2 AS x UNION SELECT 3 UNION SELECT 4")
        return {
            "slug": db.execute("SELECT slug('Mayfly River')").fetchone()[0],
            "product": db.execute("SELECT product(x) FROM n").fetchone()[0],
            "json": db.execute("SELECT json_array_length('[1, 2, 3]')").fetchone()[0],
        }
