import time


def main():
    while True:
        yield 1
        time.sleep(0.1)
