"""What control groups bound: the checks of guest.py on a kernel with cgroup v2.

Each server is started in a group that is delegated to it, as root and as systemd does it for an ordinary user. What others bound as well is
out of the way: the supervisor is stopped while memory is filled and processors are shared, limits of the process are lifted.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from mayfly import ADDRESS, answer, begin, doctor, report, serving, shell

GROUPS = pathlib.Path("/sys/fs/cgroup")
SERVICE = GROUPS / "service"
# What systemd does for a service with Delegate=yes and User=: the group is the user's, and the program is started in it.
ENTER = "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write('0'); os.setgroups([]); os.setgid(int(sys.argv[2])); " \
        "os.setuid(int(sys.argv[2])); os.execv(sys.argv[3], sys.argv[3:])"
SERVER = str(SERVICE / "mayfly-server")
# A filter of four instructions: ENOSYS for call 435, all others are allowed.
NO_CLONE3 = "import ctypes, struct; program = ctypes.create_string_buffer(struct.pack('HBBI' * 4, 32, 0, 0, 0, 21, 0, 1, 435, " \
            "6, 0, 0, 0x50026, 6, 0, 0, 0x7fff0000)); filter = struct.pack('HxxxxxxQ', 4, ctypes.addressof(program)); " \
            "assert ctypes.CDLL(None).prctl(22, 2, filter) == 0; "
# Up to 8 KiB of page tables for each page, which no limit on addresses sees.
FILLS = """
import ctypes, time
map = ctypes.CDLL(None).mmap
map.restype = ctypes.c_size_t
map.argtypes = [ctypes.c_size_t] * 4 + [ctypes.c_int, ctypes.c_size_t]
def main():
    time.sleep(1)
    for number in range(45000):
        ctypes.memset(map((1 << 40) + (number << 30), 4096, 3, 0x100022, -1, 0), 1, 1)
    return "525 MB"
"""
THREADS = """
import _thread, time
def main():
    time.sleep(1)
    for made in range(1, 300):
        try:
            _thread.start_new_thread(time.sleep, (20,))
        except RuntimeError:
            return made
"""
# zlib works without the interpreter's lock.
SPINS = """
import threading, zlib
def spin(data=bytes(1 << 20)):
    while True:
        zlib.crc32(data)
def main(threads):
    for _ in range(threads - 1):
        threading.Thread(target=spin).start()
    spin()
"""


def group_of(pid: int) -> pathlib.Path:
    return GROUPS / pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


def members(group: pathlib.Path) -> list[int]:
    return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]


def slots() -> dict[int, pathlib.Path]:
    """Children with the groups that they are in."""
    return {pid: group for group in SERVICE.glob("mayfly-*/[0-9]*") for pid in members(group)}


def started(script: str, **request: object) -> tuple[http.client.HTTPConnection, int, pathlib.Path]:
    """A script that runs, its process and its group: the child that the server, root's, has offered to the kernel since."""
    def offered() -> dict[int, pathlib.Path]:
        score = lambda pid: pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text().strip()
        with contextlib.suppress(OSError):
            return {pid: group for pid, group in slots().items() if score(pid) == "1000"}
        return {}
    before = offered()
    connection = begin(script, **request)
    # An emulated processor that many share may take long.
    deadline = time.monotonic() + 50
    while time.monotonic() < deadline:
        for pid, group in offered().items():
            if pid not in before:
                return connection, pid, group
        time.sleep(0.1)
    raise RuntimeError(f"no child runs the script: {slots()}, {answer(connection)}")


def number(group: pathlib.Path, file: str, name: str = "") -> float:
    lines = (group / file).read_text().splitlines()
    told = next(line for line in lines if line.startswith(name)).removeprefix(name)
    return float("inf") if told == "max" else int(told)


def eventually(holds, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


class Expectations:
    def __init__(self) -> None:
        self.wrong: list[str] = []

    def expect(self, what: str, is_so: bool, told: object) -> None:
        if not is_so:
            self.wrong.append(f"{what}: {told}")


def left() -> list[str]:
    return sorted(path.name for path in SERVICE.iterdir() if path.is_dir())


def what_a_group_bounds(server: subprocess.Popen, all: Expectations) -> None:
    # The supervisor, which would see it too, is stopped meanwhile.
    connection, pid, group = started(FILLS, limits={"memory_mb": 256})
    most = number(group, "memory.max")
    all.expect("memory.max", 256 << 20 < most < 600 << 20, most)
    os.kill(server.pid, signal.SIGSTOP)
    # Killed for want of its own memory, not of the machine's.
    ran_out = lambda: number(group, "memory.events", "oom ") > 0 and number(group, "memory.events", "oom_group_kill ") == 1
    killed = eventually(ran_out, 60)
    os.kill(server.pid, signal.SIGCONT)
    all.expect("the kernel kills it", killed, (group / "memory.events").read_text())
    told = answer(connection)
    all.expect("what fills memory", told[0] == 422 and told[1].get("code") == "memory_limit", told)
    runs = sum(number(one, "memory.events", "oom_group_kill ") for one in SERVICE.glob("mayfly-*/[0-9]*"))
    all.expect("no second run", runs == 1, runs)

    # What the kernel counts by id is out of the way.
    connection, pid, group = started(THREADS)
    resource.prlimit(pid, resource.RLIMIT_NPROC, (1000, 1000))
    told = answer(connection)
    all.expect("threads", told == (200, {"result": 64}), (told, (group / "pids.max").read_text()))

    runs = [started(SPINS, args=[threads]) for threads in (20, 1, 1)]
    use = lambda: [number(group, "cpu.stat", "usage_usec ") for _, _, group in runs]
    # Nice values, which the supervisor gives, are out of the way.
    os.kill(server.pid, signal.SIGSTOP)
    for _, pid, _ in runs:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), 0)
    before = use()
    time.sleep(2)
    crowd, *few = [now - then for now, then in zip(use(), before)]
    os.kill(server.pid, signal.SIGCONT)
    # By threads it would be a twentieth; between processors the kernel shares out roughly.
    all.expect("one script of 20 threads and two of one", min(few) > crowd / 6, (crowd, few))
    for connection, _, _ in runs:
        connection.close()


def what_a_killed_server_leaves(level: str, enter: list[str], all: Expectations) -> None:
    # As whoever starts it again would: from where it was.
    enter = [SERVER if part == str(SERVICE) else part for part in enter]
    with serving({}, level, *enter) as server:
        server.kill()
        server.wait(20)
        all.expect("after a kill", eventually(lambda: not slots()), slots())
        killed = left()
        with serving({}, level, *enter):
            all.expect("after the next start", (now := left()) != killed and len(now) == 2, (killed, now))


@contextlib.contextmanager
def delegated(user: int, before: str = "") -> Iterator[list[str]]:
    """A group of this user's, and how a program is started in it; `before` is what its starter does first."""
    SERVICE.mkdir()
    for path in (SERVICE, SERVICE / "cgroup.procs", SERVICE / "cgroup.subtree_control"):
        os.chown(path, user, user)
    yield [sys.executable, "-I", "-c", before + ENTER, str(SERVICE), str(user)]
    shell(f"busybox rmdir {SERVICE}/mayfly-server {SERVICE}")


def own_cgroup() -> dict:
    """What the server says of this layer."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=5)
    connection.request("GET", "/capabilities")
    return json.loads(connection.getresponse().read())["layers"]["own-cgroup"]


def has_groups(name: str, user: int, level: str, is_thorough: bool = False, before: str = "") -> None:
    """Where a group is delegated, each child has one, and none is left."""
    all = Expectations()
    with delegated(user, before) as enter:
        sees_groups(all, level, enter, is_thorough)
    report(name, all.wrong, "memory, threads and processor time of a script are bounded" if is_thorough else "one for each child")


def sees_groups(all: Expectations, level: str, enter: list[str], is_thorough: bool, without: str = "") -> None:
    with serving({}, level, *enter, **({"MAYFLY_WITHOUT": without} if without else {})) as server:
        if server.poll() is not None:
            all.expect("the server", False, f"ended with {server.returncode}: {server.stdout.read()}")
            return
        layer = own_cgroup()
        all.expect("capabilities", layer == {"granted": True}, layer)
        hello = answer(begin("def main():\n    return 'hello'"))
        all.expect("hello", hello == (200, {"result": "hello"}), hello)
        all.expect("the server", group_of(server.pid) == SERVICE / "mayfly-server", group_of(server.pid))
        all.expect("ready children", eventually(lambda: len(slots()) >= 4), slots())
        ready = slots()
        all.expect("a group for each", len(set(ready.values())) == len(ready), ready)
        # Of one that is not in the group nothing could be told.
        if is_thorough and not all.wrong:
            what_a_group_bounds(server, all)
    if without:
        return
    all.expect("what is left", left() == ["mayfly-server"], left())
    all.expect("who is left", not members(SERVICE / "mayfly-server"), members(SERVICE / "mayfly-server"))
    if is_thorough:
        what_a_killed_server_leaves(level, enter, all)


def misses(layer: str) -> None:
    """A server that lacks this layer, its check at start included, is seen to; and what the check at start says by itself."""
    all = Expectations()
    with delegated(0) as enter:
        sees_groups(all, "full", enter, is_thorough=True, without=f"{layer},verification")
    with delegated(0) as enter, serving({}, "full", *enter, MAYFLY_WITHOUT=layer) as server:
        says = "refuses" if server.poll() is not None else "serves" if own_cgroup()["granted"] else "serves, and says that it is missing"
    red = [wrong.partition(":")[0] for wrong in all.wrong]
    report(f"without {layer}", [] if red else ["NOTHING TURNS RED"], f"{'; '.join(red)} · {says}")


def what_is_shared_is_not_taken() -> None:
    """A group with somebody else in it is not the server's to share out."""
    SERVICE.mkdir()
    with subprocess.Popen(["/bin/busybox", "sleep", "600"]) as other:
        (SERVICE / "cgroup.procs").write_text(str(other.pid))
        enter = [sys.executable, "-I", "-c", ENTER, str(SERVICE), "0"]
        layer = doctor({}, *enter)["levels"]["full"]["layers"]["own-cgroup"]
        with serving({}, "full", *enter):
            told = answer(begin("def main():\n    return 1"))
        other.kill()
    why = "other processes are in the server's control group"
    right = layer.get("why") == why and "Delegate=yes" in (layer.get("remedy") or "") and told == (200, {"result": 1})
    report("a control group that is shared", [] if right else [f"{layer}, {told}"], why)
    SERVICE.rmdir()


def share_out() -> None:
    """As systemd does, to the service's group."""
    (GROUPS / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    # It would share out the processors by session where they are not shared out by group.
    autogroup = pathlib.Path("/proc/sys/kernel/sched_autogroup_enabled")
    if autogroup.exists():
        autogroup.write_text("0")


def what_is_missed(layers: list[str]) -> None:
    share_out()
    has_groups("with every layer", 0, "full", is_thorough=True)
    for layer in layers:
        misses(layer)


def what_groups_bound() -> None:
    share_out()
    has_groups("a control group of root's, level full", 0, "full", is_thorough=True)
    has_groups("a control group of an ordinary user's, level full", 1000, "full")
    has_groups("a control group of root's, level seccomp", 0, "seccomp")
    # The guest's own Python lacks what ctypes needs; the jail has it.
    for library in pathlib.Path("/mayfly/jail/usr/lib").rglob("libffi.so.?"):
        place = pathlib.Path("/") / library.relative_to("/mayfly/jail")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(library)
    has_groups("a control group, where clone3 is refused as by Docker's profile", 0, "full", before=NO_CLONE3)
    what_is_shared_is_not_taken()
