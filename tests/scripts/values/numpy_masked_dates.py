import numpy as np


def main():
    days = np.ma.array(np.array(["2024-01-01", "2024-01-02"], dtype="M8[D]"), mask=[False, True])
    waves = np.ma.array([1 + 2j, 3j], mask=[True, False])
    return {"days": days, "waves": waves, "whole": np.ma.array([1, 2], mask=[0, 1]), "one": np.ma.masked}
