from itertools import islice


def running_average(closed):
    total, count, average = 0, 0, None
    try:
        while True:
            value = yield average
            total, count = total + value, count + 1
            average = total / count
    finally:
        closed.append("closed")


def naturals():
    n = 0
    while True:
        yield n
        n += 1


def main():
    closed = []
    average = running_average(closed)
    next(average)
    averages = [average.send(value) for value in (10, 20, 30)]
    average.close()
    return {"averages": averages, "closed": closed, "evens": list(islice((n for n in naturals() if n % 2 == 0), 3))}
