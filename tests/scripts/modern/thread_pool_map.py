import time
from concurrent.futures import ThreadPoolExecutor


def double(n):
    time.sleep((5 - n) / 500)
    return n * 2


def main():
    with ThreadPoolExecutor(max_workers=4) as pool:
        doubled = list(pool.map(double, range(5)))
    return {"doubled": doubled, "total": sum(doubled)}
