import functools


@functools.lru_cache(maxsize=None)
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


class Report:
    calls = 0

    @functools.cached_property
    def total(self):
        self.calls += 1
        return 10


@functools.singledispatch
def describe(value):
    return "something"


@describe.register
def _(value: int):
    return f"int {value}"


@describe.register
def _(value: list):
    return f"list of {len(value)}"


@functools.total_ordering
class Version:
    def __init__(self, text):
        self.parts = tuple(map(int, text.split(".")))

    def __eq__(self, other):
        return self.parts == other.parts

    def __lt__(self, other):
        return self.parts < other.parts


def main():
    report = Report()
    report.total, report.total
    a, b = Version("1.9"), Version("1.10")
    return {
        "fib": fib(50),
        "hits": fib.cache_info().hits,
        "calls": report.calls,
        "partial": functools.partial(pow, 2)(5),
        "reduce": functools.reduce(lambda x, y: x * y, range(1, 6)),
        "dispatch": [describe(1), describe([1, 2]), describe(None)],
        "ordering": [a < b, b >= a, a > b],
    }
