def main():
    pages = []
    while True:
        pages.append(bytearray(1_000_000))
