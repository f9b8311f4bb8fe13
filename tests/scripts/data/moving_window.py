from collections import deque
from itertools import accumulate, pairwise


def moving_average(values, size):
    window = deque(maxlen=size)
    for value in values:
        window.append(value)
        if len(window) == size:
            yield round(sum(window) / size, 2)


def main():
    values = [3, 1, 4, 1, 5]
    return {
        "totals": list(accumulate(values)),
        "averages": list(moving_average(values, 3)),
        "largest_drop": max(pairwise(values), key=lambda pair: pair[0] - pair[1]),
    }
