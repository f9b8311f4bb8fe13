import json as target


def main():
    with open(target.__file__, "a") as file:
        file.write("# changed\n")
