import queue
import threading


def main():
    box, stop, received = queue.Queue(maxsize=1), threading.Event(), []

    def consume():
        while True:
            item = box.get()
            if item is None:
                stop.set()
                return
            received.append(item)

    threading.Thread(target=consume, daemon=True).start()
    threading.Thread(target=threading.Event().wait, daemon=True).start()  # never ends
    for item in (1, 2, 3, None):
        box.put(item, timeout=2)
    return {"stopped": stop.wait(2), "received": received}
