"""What the machine is, and what processes on it have used: everything here is read from /proc.

A service is measured as a *tree*: its first process and all that descend from it. Mayfly's children are the supervisor's
own, gunicorn's nsjails are its workers', so the same sum is fair to both.
"""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
REPOSITORY = Path(__file__).resolve().parent.parent.parent


def first_line(command):
    """The first line that a command prints; empty when there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip().partition("\n")[0]


def describe(python):
    """The machine and the versions, in the words of a person, without names or paths of this machine."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    release = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    commit = first_line(["git", "describe", "--always", "--dirty", "--abbrev=12"])
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": release[1] if release else platform.system(),
        "kernel": platform.release().partition("-")[0],
        "python": first_line([python, "-I", "-c", "import platform; print(platform.python_version())"]),
        "rust": first_line(["rustc", "--version"]).removeprefix("rustc ").partition(" (")[0],
        "commit": commit,
        "load_average_before": round(os.getloadavg()[0], 2),
    }


@dataclass
class Used:
    """What a tree has used since its start: processor time in seconds, page faults served without a disk."""

    cpu: float
    faults: int

    def __sub__(self, earlier):
        return Used(self.cpu - earlier.cpu, self.faults - earlier.faults)


@dataclass
class Process:
    """One line of the process table, with the fields of proc(5) that count here."""

    pid: int
    parent: int
    state: str
    faults: int
    faults_of_reaped: int
    ticks: int
    ticks_of_reaped: int

    @classmethod
    def read(cls, pid):
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        field = text[text.rindex(")") + 2 :].split()
        number = [int(field[place - 3]) for place in (4, 10, 11, 14, 15, 16, 17)]
        parent, faults, faults_of_reaped, user, system, user_of_reaped, system_of_reaped = number
        return cls(int(pid), parent, field[0], faults, faults_of_reaped, user + system, user_of_reaped + system_of_reaped)


class Tree:
    """A process and its descendants."""

    def __init__(self, pid):
        self.pid = pid

    def processes(self):
        """All of them that live, the first one first. Zombies count: their time is in no parent's sum yet."""
        table = [process for name in os.listdir("/proc") if name.isdigit() and (process := Process.read(name))]
        below = {}
        for process in table:
            below.setdefault(process.parent, []).append(process)
        found, left = [], [process for process in table if process.pid == self.pid]
        while left:
            process = left.pop(0)
            found.append(process)
            left += below.get(process.pid, [])
        return found

    def used(self):
        """Processor time and faults of all that live, and of all that they reaped."""
        processes = self.processes()
        return Used(
            TICK * sum(process.ticks + process.ticks_of_reaped for process in processes),
            sum(process.faults + process.faults_of_reaped for process in processes),
        )

    def proportional_memory(self):
        """The sum of all Pss, in bytes: each page counted once, whoever shares it. None where it may not be read."""
        sizes = [memory_of(process.pid).get("Pss") for process in self.processes() if process.state != "Z"]
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None


def memory_of(pid):
    """The fields of smaps_rollup in bytes; empty when the process is gone or is not ours to look into."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return {}
    return {name: int(size) * 1024 for name, size in re.findall(r"(\w+):\s+(\d+) kB", text)}


def status_of(pid, name):
    """A field of /proc/PID/status that is a number."""
    try:
        found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
