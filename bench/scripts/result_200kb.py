def main():
    return [
        {"id": i, "name": f"item {i}", "price": i * 1.25, "in_stock": i % 3 == 0, "tags": ["new", "sale"]}
        for i in range(2150)
    ]
