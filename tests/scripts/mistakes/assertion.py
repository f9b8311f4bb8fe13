def main():
    value = 2 + 2
    assert value == 5, f"got {value}"
