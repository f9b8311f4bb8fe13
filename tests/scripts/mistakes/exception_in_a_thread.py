import threading


def work():
    1 / 0


def main():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return "main finished"
