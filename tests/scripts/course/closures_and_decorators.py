import functools


def repeat(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return [function(*args, **kwargs) for _ in range(times)]

        return wrapper

    return decorate


@repeat(times=2)
def greet(name, *, mark="."):
    """Say hello."""
    return f"Hello, {name}{mark}"


def counter():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step


def main():
    step = counter()
    return {
        "greeting": greet("Ada", mark="!"),
        "name": greet.__name__,
        "doc": greet.__doc__,
        "counter": [step(), step(), step()],
    }
