def main():
    return 1 - 10**4300
