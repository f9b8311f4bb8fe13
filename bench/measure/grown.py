"""How the cost of a request grows: with ready children, with the preloaded heap, with clients, and with what goes in and
comes out. Each curve is flat or a straight line, or it says where it is not."""

import statistics

from . import draw, loads, needs, services
from .machine import status_of

HELLO = 'def main():\n    return {"msg": "hello"}\n'


def measured(service, request, seconds, clients):
    """One point: times of an answer in milliseconds, the rate, and what a request used."""
    report = loads.by_load(service, request, clients=clients, seconds=seconds)
    if report["failed"] or set(report["statuses"]) != {"200"}:
        needs.stop(f"{service.name}: {report['statuses']} {report['failed']}")
    return {
        "p50_ms": report["served"]["p50"] / 1e3,
        "p99_ms": report["served"]["p99"] / 1e3,
        "per_second": report["served_per_second"],
        "cpu_ms": report["cpu_us"] / 1e3,
        "faults": report["faults"],
    }


def of_ready_children(seconds):
    """More children on the shelf: more memory, and a longer burst that is answered at once."""
    points = []
    for ready in (1, 2, 4, 8, 16, 32, 64):
        with services.mayfly("full", MAYFLY_PRELOAD="", MAYFLY_READY=ready) as service:
            memory = service.tree.proportional_memory()
            found = measured(service, {"script": HELLO}, seconds, 8)
            points.append({"x": ready, "memory_mb": memory / 2**20 if memory else None} | found)
    return points


def of_heap(seconds):
    """A larger heap in the zygote: what its children cost when the script is the same. The comment sends it there."""
    points = []
    root = needs.jail_with_matplotlib()
    heaps = ("", "numpy", "numpy,pandas", "numpy,pandas,scipy.stats", "numpy,pandas,scipy.stats,matplotlib.pyplot")
    for modules in heaps:
        with services.mayfly("full", MAYFLY_PRELOAD=modules, MAYFLY_ROOT=root) as service:
            left_out = [line for line in services.log_of(service).splitlines() if "could not be preloaded" in line]
            if left_out:
                needs.say(f"a heap is left out, as not all of {modules} can be preloaded: {left_out[0]}")
                continue
            last = modules.rpartition(",")[2].partition(".")[0]
            text = f"# import {last}\n{HELLO}" if modules else HELLO
            heap = max(status_of(process.pid, "RssAnon") or 0 for process in service.tree.processes()[1:]) / 1024
            tables = max(status_of(process.pid, "VmPTE") or 0 for process in service.tree.processes()[1:])
            point = {"x": heap, "modules": modules or "lean", "page_tables_kb": tables}
            for clients, suffix in ((1, ""), (8, "_8_clients")):
                found = measured(service, {"script": text}, seconds, clients)
                point |= {key + suffix: value for key, value in found.items()}
            points.append(point)
    return points


def of_clients(seconds):
    """More clients: the rate stays, and each waits its turn. The queue is long enough to refuse nobody."""
    points = []
    with services.mayfly("full", MAYFLY_QUEUE=1000) as service:
        for clients in (1, 2, 4, 8, 16, 32, 64, 125, 250, 500):
            points.append({"x": clients} | measured(service, {"script": HELLO}, seconds, clients))
    return points


def of_result(seconds):
    """A longer result."""
    script = "def main(size):\n    return 'x' * size\n"
    sizes = [1, 10, 100, 1000, 10_000, 100_000, 300_000, 1_000_000]
    return by_size(sizes, seconds, lambda size: {"script": script, "args": [size]})


def of_script(seconds):
    """A longer script, all of it code that has to be compiled."""
    function = "def function_{}(number):\n    return [number + step for step in range(10) if step % 2]\n\n"

    def request(size):
        script = HELLO
        number = 0
        while len(script) < size:
            script += function.format(number)
            number += 1
        return {"script": script}

    sizes = [30, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000]
    return by_size(sizes, seconds, request, MAYFLY_SCRIPT_BYTES=1_000_000)


def of_output(seconds):
    """More printed, in lines of 80 characters, and given back with the answer."""
    script = "def main(lines):\n    for _ in range(lines):\n        print('x' * 79)\n"

    def request(size):
        return {"script": script, "args": [size // 80], "include": ["stdout"], "limits": {"output_bytes": 1_048_576}}

    return by_size([80, 800, 8000, 40_000, 80_000, 160_000, 400_000, 800_000], seconds, request)


def by_size(sizes, seconds, request, **settings):
    """One client; the cost of each size."""
    with services.mayfly("full", MAYFLY_PRELOAD="", **settings) as service:
        return [{"x": size} | measured(service, request(size), seconds, 1) for size in sizes]


def slope(points, key="cpu_ms"):
    """The straight line through the points with the least squares of relative errors: (at zero, for each x, worst error)."""
    weights = [1 / point[key] ** 2 for point in points]
    total = sum(weights)
    mean_x = sum(weight * point["x"] for weight, point in zip(weights, points)) / total
    mean_y = sum(weight * point[key] for weight, point in zip(weights, points)) / total
    above = sum(w * (p["x"] - mean_x) * (p[key] - mean_y) for w, p in zip(weights, points))
    below = sum(weight * (point["x"] - mean_x) ** 2 for weight, point in zip(weights, points))
    each = above / below if below else 0
    start = mean_y - each * mean_x
    return start, each, max(abs(point[key] / (start + each * point["x"]) - 1) for point in points)


CURVES = {
    "ready_children": ("ready children", of_ready_children, [("p50, 8 clients", "p50_ms"), ("CPU per request", "cpu_ms")]),
    "heap": (
        "zygote's heap, MiB",
        of_heap,
        [("p50, 1 client", "p50_ms"), ("CPU per request", "cpu_ms"), ("p50, 8 clients", "p50_ms_8_clients")],
    ),
    "clients": ("clients at once", of_clients, [("p50", "p50_ms"), ("p99", "p99_ms"), ("CPU per request", "cpu_ms")]),
    "result": ("size of the result, bytes", of_result, [("p50", "p50_ms"), ("CPU per request", "cpu_ms")]),
    "script": ("size of the script, bytes", of_script, [("p50", "p50_ms"), ("CPU per request", "cpu_ms")]),
    "output": ("size of stdout, bytes", of_output, [("p50", "p50_ms"), ("CPU per request", "cpu_ms")]),
}

TITLES = {
    "ready_children": "Cost of a hello against ready children",
    "heap": "Cost of a hello against the preloaded heap",
    "clients": "Cost of a hello against clients",
    "result": "Cost against the size of the result",
    "script": "Cost against the size of the script",
    "output": "Cost against the size of stdout",
}


def measure(names, seconds):
    """The curves asked for."""
    found = {}
    for name in names:
        needs.say(f"measuring: {name}")
        found[name] = CURVES[name][1](seconds)
    return found


def pictures(found):
    """A plot for each curve."""
    drawn = {}
    for name, points in found.items():
        label, _, lines = CURVES[name]
        series = [(line, [(point["x"], point[key]) for point in points]) for line, key in lines]
        drawn[f"growth-{name.replace('_', '-')}.svg"] = draw.curves(TITLES[name], label, "ms", series)
    return drawn


def in_words(name, points):
    """What a curve says: flat, or so much for each unit, and how well a straight line fits."""
    if name == "clients":
        busy = [point for point in points if point["x"] >= 4]
        rates = [point["per_second"] for point in busy]
        middle = statistics.median(rates)
        return (
            f"From 4 clients on the rate is {middle:,.0f}/s, between {min(rates) / middle:.0%} and "
            f"{max(rates) / middle:.0%} of that; a request costs {points[0]['cpu_ms']:.2f} ms of processor time with one "
            f"client and {points[-1]['cpu_ms']:.2f} ms with {points[-1]['x']}."
        )
    start, each, worst = slope(points)
    growth = each * (points[-1]["x"] - points[0]["x"]) / start if start > 0 else float("inf")
    if abs(growth) < 0.15:
        shape = f"flat: {start:.2f} ms of processor time"
    else:
        step, unit = {
            "heap": (10, "10 MiB"),
            "ready_children": (1, "child"),
        }.get(name, (1000, "1,000 bytes"))
        shape = f"{start:.2f} ms of processor time and {each * step * 1000:.1f} µs for each {unit}"
    return f"{shape}; no point is further than {worst:.0%} from that line."
