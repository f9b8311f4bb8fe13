import numpy as np


def main():
    x = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    y = (x > 0).astype(float)
    weight = bias = 0.0
    losses = []
    for _ in range(500):
        p = 1 / (1 + np.exp(-(weight * x + bias)))
        losses.append(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
        weight -= 0.5 * np.mean((p - y) * x)
        bias -= 0.5 * np.mean(p - y)
    return {
        "accuracy": np.mean((p > 0.5) == (y == 1)),
        "loss_falls": losses[-1] < losses[0] / 10,
        "weight_positive": weight > 0,
        "boundary": abs(round(float(-bias / weight), 6)),
    }
