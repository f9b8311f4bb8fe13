def main():
    return {"values": [1, 2], "doubled": map(lambda n: n * 2, [1, 2])}
