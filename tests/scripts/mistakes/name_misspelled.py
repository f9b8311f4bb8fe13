def main():
    total = 1
    return toatl
