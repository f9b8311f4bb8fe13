import numpy as np
from numpy.polynomial import Polynomial


def main():
    x = np.linspace(-2, 4, 25)
    fitted = Polynomial.fit(x, x**2 - 3 * x + 2, deg=2).convert()
    t = np.linspace(0, np.pi, 2001)
    heights = np.sin(t)
    area = ((heights[1:] + heights[:-1]) / 2 * np.diff(t)).sum()
    return {
        "fit": fitted.coef[::-1].round(6),
        "roots": np.sort(fitted.roots()).round(6),
        "derivative": fitted.deriv().coef.round(6),
        "area": round(float(area), 5),
    }
