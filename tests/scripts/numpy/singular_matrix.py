import numpy as np


def main():
    return np.linalg.inv(np.array([[1.0, 2.0], [2.0, 4.0]]))
