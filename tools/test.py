"""Runs tests, and says what it is doing and how far it is. `make test` calls it when the jail root is there.

    python3 tools/test.py                       all of them
    python3 tools/test.py --test it -- full::   what `cargo test` runs with these arguments; `make test TESTS='…'`

The tests are built and run by cargo, first as the program is made for use, then with the faults that a test build can be asked for;
after all of them, docs/measured/matrix.md is compared with what the run saw. A failure is shown when it happens, and the rest
still runs. Whatever cargo and the tests print is in target/test.log. Tests that this user or machine can't do are named at the end,
with the reason; for root there are none, or the run fails.
"""

import collections
import os
import pathlib
import re
import subprocess
import sys
import time

HOME = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target"))
TIMES = TARGET / "test-times"
# Seconds between two lines of progress where lines can't be overwritten.
PAUSE = 30
FAULTS = ["--features", "fault-injection", "--test", "faults", "--test", "release"]


def duration(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


class Progress:
    """One line that says how far it is: overwritten on a terminal, repeated now and then elsewhere."""

    def __init__(self):
        self.began = time.monotonic()
        self.shown_at = 0.0
        self.is_open = False

    def elapsed(self):
        return time.monotonic() - self.began

    def show(self, text, now=False):
        if sys.stdout.isatty():
            if now or time.monotonic() - self.shown_at > 0.2:
                print(f"\r\x1b[K{text}", end="", flush=True)
                self.shown_at, self.is_open = time.monotonic(), True
        elif now or time.monotonic() - self.shown_at > PAUSE:
            print(text, flush=True)
            self.shown_at = time.monotonic()

    def say(self, text):
        """A line that stays."""
        print(("\r\x1b[K" if self.is_open else "") + text, flush=True)
        self.is_open = False


class Run:
    """What cargo and the test programs say, read line by line."""

    def __init__(self, progress, log):
        self.progress, self.log = progress, log
        self.passed, self.failed = 0, []
        self.not_run = collections.defaultdict(list)
        self.program, self.number, self.programs = "", 0, 0
        self.count, self.done, self.wrong = 0, 0, 0
        self.reason = None  # lines of what went wrong, while they come

    def cargo(self, *arguments):
        """Builds, then runs: a build that fails ends the run."""
        build = ["cargo", "test", "--locked", "--no-run", *arguments]
        self.progress.say(f"building: {' '.join(build)}")
        status, lines = self.follow(build, show=True)
        if status:
            sys.exit(status)
        self.programs += sum(line.lstrip().startswith("Executable") for line in lines)
        status, _ = self.follow(["cargo", "test", "--locked", "--no-fail-fast", *arguments])
        return status

    def follow(self, command, show=False):
        environment = dict(os.environ, MAYFLY_TEST_TIMES=str(TIMES), CARGO_TERM_COLOR="never")
        process = subprocess.Popen(command, cwd=HOME, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        lines = []
        for line in process.stdout:
            self.log.write(line)
            line = line.rstrip("\n")
            lines.append(line)
            if not show:
                self.read(line)
            elif "Executable" not in line:
                self.progress.say(line)
        return process.wait(), lines

    def read(self, line):
        if found := re.match(r" +Running (?:unittests )?(\S+)|   Doc-tests (\S+)", line):
            self.program = found[1] or f"the documentation's examples of {found[2]}"
            self.number += 1
            self.count = self.done = self.wrong = 0
        elif found := re.fullmatch(r"running (\d+) tests?", line):
            self.count = int(found[1])
            if self.count:
                self.show(now=True)
        elif found := re.match(r"test +(?:\[([^\]]*)\] +)?(.+?) +\.\.\. (ok$|FAILED$|ignored$|ignored, .*$)?", line):
            why, name, verdict = found.groups()
            self.name = name
            if verdict:
                self.end(name, verdict.split(",")[0], why)
        elif line in ("ok", "FAILED"):
            self.end(self.name, line, None)
        elif found := re.match(r"test result: \S+ (\d+) passed", line):
            self.passed += int(found[1])
            self.reason = None
        elif line == "failures:":
            self.reason = [] if self.reason is None else None
        elif self.reason is not None:
            self.progress.say(f"    {line}")

    name = ""

    def end(self, name, verdict, why):
        self.done += 1
        if verdict == "FAILED":
            self.wrong += 1
            self.failed.append(f"{self.program}: {name}")
            self.progress.say(f"FAILED  {name}")
        elif verdict == "ignored":
            self.not_run[why or "ignored"].append(f"{self.program}: {name}")
        self.show(now=self.done == self.count)

    def show(self, now=False):
        wrong = f", {self.wrong} failed" if self.wrong else ""
        self.progress.show(f"[{self.number} of {max(self.number, self.programs)}] {self.program}: {self.done:,} of {self.count:,}{wrong}; "
                           f"{duration(self.progress.elapsed())}", now)


def slowest():
    times = [line.split(" ", 1) for line in TIMES.read_text().splitlines()] if TIMES.exists() else []
    ordered = sorted(((float(seconds), name) for seconds, name in times), reverse=True)
    return ordered[:5]


def main():
    (TARGET / "tmp").mkdir(parents=True, exist_ok=True)
    TIMES.unlink(missing_ok=True)
    progress = Progress()
    with open(TARGET / "test.log", "w") as log:
        run = Run(progress, log)
        if some := sys.argv[1:]:
            statuses = [run.cargo(*some)]
        else:
            statuses = [run.cargo("--workspace"), run.cargo(*FAULTS)]
            progress.say("the matrix of docs/measured/matrix.md:")
            statuses.append(run.follow([sys.executable, "tools/matrix.py", "--check"], show=True)[0])
    for why, names in run.not_run.items():
        progress.say(f"\nnot run: {why} ({len(names):,} tests)")
        rooms = collections.Counter("::".join(name.split("::")[:-1]) or name for name in names)
        for room, count in rooms.items():
            progress.say(f"    {room}" + (f": {count:,}" if count > 1 else ""))
    if not run.passed + len(run.failed) + sum(map(len, run.not_run.values())):
        print("there is no such test")
        return 1
    if times := slowest():
        print("\nthe slowest: " + ", ".join(f"{name} {seconds:.0f} s" for seconds, name in times))
    for name in run.failed:
        print(f"FAILED  {name}")
    left_out = sum(map(len, run.not_run.values()))
    print(f"{run.passed:,} passed, {len(run.failed):,} failed, {left_out:,} not run, in {duration(progress.elapsed())}; all of it is in {TARGET / 'test.log'}")
    if left_out and os.geteuid() == 0:
        print("as root no test may be left out")
        return 1
    return int(any(statuses) or bool(run.failed))


if __name__ == "__main__":
    sys.exit(main())
