import threading


def main():
    rows = [{"id": n, "ts": n} for n in range(5)]
    rows[3]["ts"] = threading.Lock()
    return {"rows": rows}
