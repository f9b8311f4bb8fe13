import statistics


def main():
    values = [2, 4, 4, 4, 5, 5, 7, 9]
    return {
        "mean": float(statistics.mean(values)),
        "median": statistics.median(values),
        "mode": statistics.mode(values),
        "pstdev": statistics.pstdev(values),
        "stdev": round(statistics.stdev(values), 3),
        "quartiles": statistics.quantiles(values, n=4),
        "correlation": round(statistics.correlation([1, 2, 3, 4], [1, 3, 3, 5]), 4),
    }
