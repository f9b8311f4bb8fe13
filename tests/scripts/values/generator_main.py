def main():
    yield 1
    yield 2
