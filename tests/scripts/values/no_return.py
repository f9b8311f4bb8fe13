def main():
    x = 1 + 1
