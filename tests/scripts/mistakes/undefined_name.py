def main():
    total = 3
    return totl
