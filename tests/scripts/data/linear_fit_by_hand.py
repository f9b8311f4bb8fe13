def main():
    points = [(1, 2), (2, 4), (3, 7), (4, 8), (5, 11)]
    n = len(points)
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    sxy = sum((x - mean_x) * (y - mean_y) for x, y in points)
    sxx = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sxy / sxx
    intercept = mean_y - slope * mean_x
    residual = sum((y - slope * x - intercept) ** 2 for x, y in points)
    total = sum((y - mean_y) ** 2 for _, y in points)
    return {
        "slope": round(slope, 4),
        "intercept": round(intercept, 4),
        "r2": round(1 - residual / total, 4),
        "predict_6": round(slope * 6 + intercept, 4),
    }
