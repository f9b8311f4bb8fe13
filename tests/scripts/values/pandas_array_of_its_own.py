import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype


class Kind(ExtensionDtype):
    name, type = "own", int

    @classmethod
    def construct_array_type(cls):
        return Own


class Own(ExtensionArray):
    dtype = Kind()

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, key):
        return self.items[key] if isinstance(key, (int, np.integer)) else Own(self.items[key])

    def isna(self):
        return np.zeros(len(self), bool)

    def copy(self):
        return self


def main():
    return [pd.Series(Own([1, 2])), pd.DataFrame({"x": Own([3])})]
