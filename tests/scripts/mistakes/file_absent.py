def main():
    with open("data.csv") as file:
        return file.read()
