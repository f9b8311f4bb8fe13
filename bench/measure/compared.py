"""Side by side: Mayfly at two levels, the usual recipe, a bare python3 for each run, and the floor.

Rounds are short and take all of them in turn, each round in another order, so that a machine that others use too is as
slow for one as for the next. What counts is a ratio within one round; the number given is the median of the rounds.
"""

import json
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field

from . import loads, needs, services

SCRIPTS = ["hello", "json_re", "pandas_groupby", "work_20ms", "result_200kb", "raises"]
CLIENTS = [1, 8, 64]
FULL, SECCOMP, RECIPE, BARE, FLOOR, FLOOR_READY = (
    "mayfly full",
    "mayfly seccomp",
    "recipe",
    "bare python3",
    "floor",
    "floor, child ready",
)
# A slow system needs a long window for many clients: this many answers for each of them.
ANSWERS_EACH = 1.5
# Windows longer than this are measured in the first round only.
LONG_WINDOW = 6


def script(name):
    """The text of a script of bench/scripts."""
    return (needs.BENCH / "scripts" / f"{name}.py").read_text()


@dataclass
class Effort:
    """How thorough a run is."""

    rounds: int
    seconds: int
    floor_runs: int


QUICK = Effort(rounds=1, seconds=1, floor_runs=100)
THOROUGH = Effort(rounds=3, seconds=2, floor_runs=300)


@dataclass
class Comparison:
    """All windows: `windows[script][clients][system]` is a list, one for each round."""

    effort: Effort
    services: dict
    windows: dict = field(default_factory=dict)
    floors: dict = field(default_factory=dict)
    memory: dict = field(default_factory=dict)

    def window(self, name, clients, system):
        """What one system does with one script and so many clients."""
        text = script(name)
        seconds = self.effort.seconds
        known = self.windows[name].get(1, {}).get(system)
        if known and clients > 1:
            # Two cores' worth of the time that one client saw, for each client's answers.
            seconds = max(seconds, round(ANSWERS_EACH * clients * known[0].p50_us / 1e6 / 2 + 0.5))
        if seconds > LONG_WINDOW and self.windows[name].get(clients, {}).get(system):
            return
        if system == BARE:
            window, largest = loads.by_spawning(text, clients, seconds)
            self.memory.setdefault(BARE, {})[name] = largest
        else:
            service = self.services[system]
            with loads.Body({"script": text}) as body:
                window = loads.by_wrk(service, body, clients, seconds, fails=name == "raises")
            if system == RECIPE:
                wait_until_idle(service)
        self.windows[name].setdefault(clients, {}).setdefault(system, []).append(window)

    def floor(self, name):
        """The floor of one script; pandas is preloaded only for the script that imports it."""
        runs = self.effort.floor_runs if name == "hello" else self.effort.floor_runs // 3
        preload = "numpy,pandas" if "pandas" in name else ""
        file = needs.BENCH / "scripts" / f"{name}.py"
        for label, ready in ((FLOOR, False), (FLOOR_READY, True)):
            found = loads.of_floor(file, runs, preload, ready=ready)
            self.floors.setdefault(name, {}).setdefault(label, []).append(found)

    def run(self):
        """All rounds."""
        systems = [FULL, SECCOMP, RECIPE, BARE]
        for number in range(self.effort.rounds):
            needs.say(f"round {number + 1} of {self.effort.rounds}")
            for name in SCRIPTS:
                self.windows.setdefault(name, {})
                for clients in CLIENTS:
                    turn = number + SCRIPTS.index(name) + CLIENTS.index(clients)
                    for place in range(len(systems)):
                        self.window(name, clients, systems[(turn + place) % len(systems)])
                self.floor(name)


def wait_until_idle(service):
    """Lets a service finish what its clients no longer wait for: it would slow down whoever is measured next."""
    deadline = time.monotonic() + 60
    before = service.tree.used().cpu
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = service.tree.used().cpu
        if now - before < 0.02:
            return
        before = now


def check_answers(running):
    """Each service must give what a bare python3 gives."""
    for name in SCRIPTS:
        if name == "raises":
            expected = {"error": "division by zero"}
        else:
            source = f"import sys; sys.path.append({str(needs.JAIL / 'packages')!r})\n{script(name)}\n"
            source += "import json; print(json.dumps(main()))"
            done = subprocess.run([needs.python(), "-I", "-c", source], capture_output=True, text=True, check=True)
            expected = {"result": json.loads(done.stdout)}
        for service in running.values():
            services.check(service, script(name), expected)


def memory(service):
    """Proportional memory of a service at rest, and the most of it while eight clients post pandas scripts."""
    at_rest, most, done = service.tree.proportional_memory(), [0], threading.Event()

    def watch():
        while not done.is_set():
            most[0] = max(most[0], service.tree.proportional_memory() or 0)
            done.wait(0.1)

    watching = threading.Thread(target=watch)
    watching.start()
    with loads.Body({"script": script("pandas_groupby")}) as body:
        loads.by_wrk(service, body, 8, 3)
    done.set()
    watching.join()
    return {"at_rest": at_rest, "peak": most[0]}


def compare(effort):
    """Starts everything, checks that the answers are right, measures, and gives the results as plain data."""
    running = {}
    try:
        for name, start in (
            (FULL, lambda: services.mayfly("full")),
            (SECCOMP, lambda: services.mayfly("seccomp")),
            (RECIPE, services.recipe),
        ):
            needs.say(f"starting {name}")
            running[name] = start()
        check_answers(running)
        comparison = Comparison(effort, running)
        comparison.run()
        for name, service in running.items():
            if name == RECIPE:
                wait_until_idle(service)
            comparison.memory[name] = memory(service)
    finally:
        for service in running.values():
            service.stop()
    return summary(comparison)


def summary(comparison):
    """Medians of the rounds, and the ratios: each round's own, then their median."""
    cells = {}
    for name, by_clients in comparison.windows.items():
        for clients, by_system in by_clients.items():
            cell = {system: middle(windows) for system, windows in by_system.items()}
            for system in (FULL, SECCOMP):
                for other in (RECIPE, BARE):
                    pairs = list(zip(by_system[system], by_system[other]))
                    cell[system][f"times_faster_than_{other}"] = statistics.median(
                        theirs.p50_us / ours.p50_us for ours, theirs in pairs
                    )
                    cell[system][f"times_the_rate_of_{other}"] = statistics.median(
                        ours.per_second / theirs.per_second for ours, theirs in pairs
                    )
            cells.setdefault(name, {})[clients] = cell
    floors = {name: {label: floor_middle(runs) for label, runs in found.items()} for name, found in comparison.floors.items()}
    return {"cells": cells, "floor": floors, "memory": comparison.memory, "scripts": {n: docline(n) for n in SCRIPTS}}


def docline(name):
    """What a script does, in the words of the tables."""
    return {
        "hello": "`return {\"msg\": \"hello\"}`",
        "json_re": "`import json, re` and work",
        "pandas_groupby": "pandas groupby",
        "work_20ms": "20 ms of pure Python",
        "result_200kb": "a result of 200 KB",
        "raises": "a script that raises",
    }[name]


def middle(windows):
    """The median of several windows of the same kind."""
    median = {
        key: statistics.median(window.as_dict()[key] for window in windows)
        for key in ("p50_us", "p99_us", "per_second", "faults")
    }
    requests = sum(window.requests for window in windows)
    median["cpu_us"] = sum(window.cpu_us * window.requests for window in windows) / requests
    return median | {"requests": requests, "rounds": len(windows)}


def floor_middle(runs):
    """The same for the floor program's reports."""
    return {
        "answered_p50_us": statistics.median(run["answered_us"]["p50"] for run in runs),
        "made_p50_us": statistics.median(run["made_us"]["p50"] for run in runs),
        "cpu_us": statistics.median(run["cpu_us"] for run in runs),
        "faults": statistics.median(run["faults"] for run in runs),
    }
