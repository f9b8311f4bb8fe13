import threading


def main():
    lock = threading.Lock()
    with lock:
        with lock:
            return "never"
