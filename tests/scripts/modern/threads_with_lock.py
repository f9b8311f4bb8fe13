import threading


def main():
    counter, names, lock = 0, [], threading.Lock()

    def work():
        nonlocal counter
        for _ in range(1000):
            with lock:
                counter += 1
        names.append(threading.current_thread().name)

    threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"counter": counter, "names": sorted(names), "alive": any(t.is_alive() for t in threads)}
