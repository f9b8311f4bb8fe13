class Box(dict):
    def __getattr__(self, name):
        return self[name]


def main():
    return Box(a=1)
