def main():
    return {"ratios": [float("inf")] * 10, "nothing": float("nan")}
