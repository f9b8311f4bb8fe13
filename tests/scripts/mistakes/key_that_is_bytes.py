def main():
    return {b"a": 1}
