def add(item, items=[]):
    items.append(item)
    return items


def main():
    return [add(1), add(2)]
