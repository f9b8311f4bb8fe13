import time


def main():
    time.sleep(0.05)
    return "rested"
