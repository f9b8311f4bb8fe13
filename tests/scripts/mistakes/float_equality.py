def main():
    return {"equal": 0.1 + 0.2 == 0.3, "sum": 0.1 + 0.2, "rounded": [round(0.5), round(1.5), round(2.5)], "cents": round(1.005, 2)}
