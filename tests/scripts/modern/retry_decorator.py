import functools
import time

waited = []


def retry(times, base=0.001, on=(ConnectionError,)):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            for attempt in range(times):
                try:
                    return function(*args, **kwargs)
                except on:
                    if attempt == times - 1:
                        raise
                    delay = base * 2**attempt
                    waited.append(delay)
                    time.sleep(delay)

        return wrapper

    return decorate


class Service:
    attempts = 0

    @retry(times=5)
    def call(self):
        self.attempts += 1
        if self.attempts < 3:
            raise ConnectionError("try again")
        return "ok"


@retry(times=1)
def down():
    raise ConnectionError("always down")


def main():
    service = Service()
    result = service.call()
    try:
        down()
    except ConnectionError as error:
        gave_up = f"{type(error).__name__}: {error}"
    return {"result": result, "attempts": service.attempts, "waited": waited, "gave_up": gave_up}
