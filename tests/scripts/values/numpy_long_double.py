import numpy as np


def main():
    exact = np.longdouble(0.5)
    return [exact, np.longdouble(1) / 3 if np.finfo(np.longdouble).nmant > 52 else exact]
