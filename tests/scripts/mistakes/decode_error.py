def main():
    return "café".encode("latin-1").decode("utf-8")
