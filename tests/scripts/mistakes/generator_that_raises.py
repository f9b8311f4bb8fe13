def rows():
    yield 1
    yield 1 / 0


def main():
    return {"rows": rows()}
