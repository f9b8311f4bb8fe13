def main():
    return {0.1: 1, 10.0: 2, -0.5: 3}
