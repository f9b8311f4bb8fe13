def main(n):
    if n > 10:
        return "large"
