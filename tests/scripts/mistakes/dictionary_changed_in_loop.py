def main():
    stock = {"a": 0, "b": 1, "c": 0}
    for item in stock:
        if stock[item] == 0:
            del stock[item]
    return stock
