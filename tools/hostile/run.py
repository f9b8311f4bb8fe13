"""Starts a server in each way, first leaves it to its good clients alone, then to attackers as well, and says what became of it.

The clients are processes of their own: none waits for another's turn in one interpreter. What is measured of the server is what is left
when all have gone.
"""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import measured

from . import server as servers

HERE = pathlib.Path(__file__).resolve().parent
ATTACKERS = [f"127.0.0.{number}" for number in range(2, 9)]
GOOD = [f"127.0.1.{number}" for number in range(1, 4)]
QUIET = 12
# How much more memory the supervisor may hold afterwards, in MiB; and how long it has to let go.
MEMORY = 20
SETTLE = 60
# What a hello of a good client may take at the 99th percentile, beside seven who attack: so many times the quiet one, or so many seconds.
TIMES, LEAST = 10, 0.025


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


class Watch(threading.Thread):
    """Asks every second how the server says it is, and how much it holds."""

    def __init__(self, server):
        super().__init__()
        self.server, self.over = server, threading.Event()
        self.answers, self.longest, self.most, self.least_ready = collections.Counter(), 0.0, collections.Counter(), None

    def run(self):
        while not self.over.wait(1):
            for path in ("/livez", "/readyz"):
                status, _, took = self.server.get(path)
                self.answers[f"{path} {status}"] += 1
                self.longest = max(self.longest, took)
            try:
                now = self.server.measured()
            except OSError:
                continue
            for what in ("memory", "all_memory", "processes", "descriptors"):
                self.most[what] = max(self.most[what], now[what])


def client(program, *arguments):
    command = [sys.executable, HERE / f"{program}.py", *map(str, arguments)]
    # A session, and so an autogroup, of its own: by default all of a session share one's share of the processors.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)


def gathered(processes):
    found = []
    for process in processes:
        text, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        found.append(json.loads(text))
    return found


def good_clients(server, seed, seconds, has_tmp):
    return [client("good", source, server.port, f"{seed}/{source}", seconds, int(has_tmp)) for source in GOOD]


def joined(results):
    """What all good clients saw."""
    keys = ("took", "slowest", "refused", "wrong", "lost", "starved")
    all_ = {key: [one for result in results for one in result[key]] for key in keys}
    return {**all_, "right": sum(result["right"] for result in results), "reconnected": sum(result["reconnected"] for result in results)}


def settled(server, before):
    """Waits until what was used is given back, and measures."""
    deadline = time.monotonic() + SETTLE
    while True:
        after = server.measured()
        is_back = (
            after["descriptors"] <= before["descriptors"]
            and after["processes"] == before["processes"]
            and not after["zombies"]
            and after["memory"] <= before["memory"] + MEMORY
        )
        if is_back or time.monotonic() > deadline:
            return after
        time.sleep(0.5)


def soak(way, arguments):
    """One way to start the server: the lines of its section, and what is wrong."""
    server = servers.Server(way, arguments.program, arguments.root, arguments.image)
    watch, attackers = Watch(server), []
    try:
        told = server.capabilities()
        has_tmp = told["isolation"] != "seccomp"
        # What the first of everything costs is no growth.
        gathered(good_clients(server, "warm", 3, has_tmp))
        quiet = joined(gathered(good_clients(server, "quiet", QUIET, has_tmp)))
        time.sleep(2)
        before = server.measured()
        seconds = 60 * arguments.minutes
        watch.start()
        attackers = [client("attacker", source, server.port, f"{arguments.seed}/{source}", seconds, server.memory) for source in ATTACKERS]
        good = joined(gathered(good_clients(server, arguments.seed, seconds, has_tmp)))
        attacks = gathered(attackers)
        watch.over.set()
        watch.join()
        after = settled(server, before)
        # The service is as it was.
        last = joined(gathered(good_clients(server, "last", 3, has_tmp)))
        words = server.words()
    finally:
        watch.over.set()
        for attacker in attackers:
            attacker.kill()
        ended = server.stop()
    return report(way, told, quiet, good, last, attacks, watch, before, after, ended, words)


def report(way, told, quiet, good, last, attacks, watch, before, after, ended, words):
    calm, under = percentile(quiet["took"], 0.99), percentile(good["took"], 0.99)
    bound = max(TIMES * calm, LEAST)
    episodes, statuses, seen = collections.Counter(), collections.Counter(), []
    for attack in attacks:
        episodes.update(attack["episodes"])
        statuses.update(attack["statuses"])
        seen += attack["seen"]
    by_status = collections.Counter()
    for kind, count in statuses.items():
        by_status[kind.rsplit(" ", 1)[1]] += count
    problems = []
    for what, is_wrong in (
        ("wrong answers", good["wrong"] or last["wrong"] or quiet["wrong"]),
        ("lost answers", good["lost"] or last["lost"]),
        ("good clients refused", good["refused"] or last["refused"]),
        ("good scripts starved", good["starved"] or last["starved"]),
        ("attacks that came to something", seen),
        ("memory", after["memory"] > before["memory"] + MEMORY),
        ("descriptors", after["descriptors"] > before["descriptors"]),
        ("processes", after["processes"] > before["processes"]),
        ("zombies", after["zombies"]),
        ("not alive", any(not key.endswith("200") for key in watch.answers if key.startswith("/livez"))),
        ("the end", ended != 0),
    ):
        if is_wrong:
            problems.append(what)
    layers = [name for name, layer in told["layers"].items() if layer["granted"] is True]
    # The bound holds where one script's threads weigh as one script.
    is_held = under <= bound
    lost_lines = sum(int(lines) for lines in re.findall(r"lines=(\d+)", words))
    zygotes = collections.Counter(re.findall(r"warm.*?zygote=\"?(\w+)", words))
    ms = lambda seconds: f"{1000 * seconds:.1f} ms"
    counted = lambda texts: "; ".join(f"{count} × {text}" for text, count in collections.Counter(texts).most_common()) or "0"
    rows = [
        ("right answers", good["right"]),
        ("wrong answers", len(good["wrong"])),
        ("lost answers", len(good["lost"])),
        ("refusals (503)", counted(good["refused"])),
        ("honest scripts that met a limit", counted(good["starved"])),
        ("idle connections closed, and opened anew", good["reconnected"]),
        ("hello, quiet: median, 99 %, longest", f"{ms(percentile(quiet['took'], 0.5))}, {ms(calm)}, {ms(max(quiet['took']))}"),
        ("hello, attacked: median, 99 %, longest", f"{ms(percentile(good['took'], 0.5))}, {ms(under)}, {ms(max(good['took']))}"),
        ("bound for the 99 %", f"{ms(bound)}: " + ("held" if is_held else "**not held**")),
        ("health checks", f"{counted(watch.answers.elements())}; longest {ms(watch.longest)}"),
        ("scripts of attackers, by status", ", ".join(f"{count} × {status}" for status, count in sorted(by_status.items()))),
        ("attacks that came to something", len(seen)),
        ("supervisor's memory before, most, after", f"{before['memory']:.1f}, {watch.most['memory']:.1f}, {after['memory']:.1f} MiB"),
        ("memory of all processes before, most, after", f"{before['all_memory']:.0f}, {watch.most['all_memory']:.0f}, {after['all_memory']:.0f} MiB"),
        ("descriptors before, most, after", f"{before['descriptors']}, {watch.most['descriptors']}, {after['descriptors']}"),
        ("processes before, most, after", f"{before['processes']}, {watch.most['processes']}, {after['processes']}"),
        ("zombies afterwards", after["zombies"]),
        ("zygotes started", ", ".join(f"{count} × {name}" for name, count in sorted(zygotes.items()))),
        ("log lines left out", lost_lines),
        ("exit status after SIGTERM", ended),
    ]
    verdict = f"**not clean: {', '.join(problems)}**" if problems else "**clean**"
    lines = [f"## {way}", "", f"{verdict.capitalize() if not problems else verdict}. {told['concurrency']} places, a queue for {told['queue']}.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    print(*lines, sep="\n", flush=True)
    print("layers:", ", ".join(layers))
    print("slowest:", *sorted(good["slowest"], reverse=True)[:5], sep="\n  ")
    for name, found in (("wrong", good["wrong"] + last["wrong"] + quiet["wrong"]), ("lost", good["lost"] + last["lost"]), ("starved", good["starved"]), ("last refused", last["refused"]), ("seen", seen)):
        for one in found[:10]:
            print(f"{name}: {one}")
    own = [line for line in words.splitlines() if " WARN " in line or " ERROR " in line]
    kinds = collections.Counter(re.sub(r"\d+", "N", line[28:160]) for line in own)
    for line, count in kinds.most_common(15):
        print(f"log: {count} × {line}")
    for kind, count in sorted(statuses.items()):
        print(f"  {kind}: {count}")
    return lines, problems, episodes


def main(arguments):
    # So that servers and clients are ended whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ways = arguments.ways.split(",") if arguments.ways else [way for way, (whose, _) in servers.WAYS.items() if whose != "container" or arguments.image]
    command = f"python3 tools/soak.py target/release/mayfly --hostile --minutes {arguments.minutes:g} --seed {arguments.seed} --ways {','.join(ways)}"
    command += f" --image {arguments.image}" if arguments.image else ""
    page = [
        "# Hostile soak: good clients beside seven that attack",
        "",
        measured.origin(f"{command} --report"),
        "",
        f"Made on {os.uname().machine}, Linux {'.'.join(os.uname().release.split('.')[:2])}, {os.cpu_count()} cores, which the clients share; {arguments.minutes:g} minutes each way.",
        f"Seven attackers (127.0.0.2 to 127.0.0.8) go through all kinds of `tools/hostile`, each in an order of its own, with scripts and with",
        f"connections at once. {len(GOOD)} good clients beside them post a hello each {40} ms or so, and every eighth time a script of `tests/scripts`.",
        "",
    ]
    wrong, episodes = [], collections.Counter()
    for way in ways:
        print(f"{way} …", flush=True)
        lines, problems, some = soak(way, arguments)
        page += [*lines, ""]
        episodes.update(some)
        wrong += [f"{way}: {problem}" for problem in problems]
    page += ["## What was played", "", "| kind | episodes |", "|---|---|", *(f"| {kind} | {count} |" for kind, count in sorted(episodes.items()))]
    if arguments.report:
        (measured.MEASURED / "hostile.md").write_text("\n".join(page) + "\n")
    print("\n".join(wrong) or "clean")
    return 1 if wrong else 0
