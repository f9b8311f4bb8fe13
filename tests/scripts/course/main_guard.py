def greet(name="World"):
    return f"Hello, {name}!"


def main():
    return greet()


if __name__ == "__main__":
    print(main())
