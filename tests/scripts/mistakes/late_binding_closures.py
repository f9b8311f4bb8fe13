def main():
    return [f() for f in [lambda: n for n in range(3)]]
