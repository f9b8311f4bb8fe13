import pandas as pd


def main():
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]}).set_index(["a", "b"])
    return frame.rename_axis(["x", "x"])
