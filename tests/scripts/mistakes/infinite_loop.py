def main():
    n = 10
    while n > 0:
        pass
    return n
