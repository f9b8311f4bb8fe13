def main():
    name = input("What is your name? ")
    return f"Hello, {name}"
