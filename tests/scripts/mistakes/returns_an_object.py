class User:
    def __init__(self, name):
        self.name = name


def main():
    return User("Ada")
