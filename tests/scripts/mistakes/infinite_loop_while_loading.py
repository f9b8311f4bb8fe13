while True:
    pass


def main():
    return 1
