def main():
    return int(input()) * 2
