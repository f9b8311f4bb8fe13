def main():
    return 10**4300
