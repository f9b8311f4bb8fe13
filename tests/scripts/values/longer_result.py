def main():
    return {"squares": [n * n for n in range(100)], "total": sum(range(10_000)), "text": "x" * 2000}
