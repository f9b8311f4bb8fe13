!pip install requests


def main():
    return 1
