def main():
    value = "bottom"
    for _ in range(100):
        value = [value]
    return value
