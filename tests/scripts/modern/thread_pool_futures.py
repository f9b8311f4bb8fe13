from concurrent.futures import ThreadPoolExecutor, as_completed


def measure(word):
    if not word:
        raise ValueError("empty word")
    return len(word)


def main():
    done, failed = {}, {}
    with ThreadPoolExecutor() as pool:
        futures = {pool.submit(measure, word): word for word in ("a", "", "bb")}
        for future in as_completed(futures, timeout=2):
            try:
                done[futures[future]] = future.result()
            except ValueError as error:
                failed[futures[future]] = repr(error)
    return {"done": done, "failed": failed}
