def main():
    shared = [1, 2]
    return {"a": shared, "b": shared, "c": [shared] * 2}
