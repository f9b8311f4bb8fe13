PRICES = {"apple": 1}


def price(item):
    try:
        return PRICES[item]
    except KeyError as error:
        raise RuntimeError(f"no price for {item}") from error


def main():
    return price("apple") + price("pear")
