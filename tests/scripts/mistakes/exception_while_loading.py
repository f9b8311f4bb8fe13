PORT = int("eighty")


def main():
    return PORT
