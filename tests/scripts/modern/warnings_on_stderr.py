import warnings

warnings.simplefilter("always")


def main():
    def old():
        warnings.warn("use new() instead", DeprecationWarning, stacklevel=2)
    old()
    return 4
