#!/usr/bin/env python3
"""Runs as root in the guest that run.py starts, on a kernel with AppArmor and cgroup v2, and holds Mayfly there to what it says.

What the kernel refuses to an ordinary user, `doctor` must name with a remedy; a server told to be at level full must end, one that
may choose must hold at level seccomp; and the remedy, taken at its word, must give level full. Where a control group is delegated to the server, it must
bound what nothing else does. Prints a line for each check and
a last one with the count of failures.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

PROGRAM = "/mayfly/bin/mayfly"
ADDRESS = "127.0.0.1:8080"
ORDINARY = {"user": 1000, "group": 1000, "extra_groups": []}
RESTRICTION = pathlib.Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
POLICY = pathlib.Path("/sys/kernel/security/apparmor")
# An emulated processor takes a dozen of them in seconds; all of them are the containment tests' business.
PARTS = ["--scripts", "30", "--attacks", "60"]
# What a profile of a service may look like whose author has not thought of namespaces.
ALLOWED = "file, network, unix, signal, ptrace, mqueue,"
# Ubuntu's own, in short, which its kernels put on whoever makes a user namespace without having the permission.
UBUNTU = ("profile unprivileged_userns { allow file rwlkm /**, network, unix, signal, ptrace, mqueue, userns, "
          "audit deny capability, audit deny change_profile, allow pix /** -> &unprivileged_userns, }")
# What of Docker's own matters here. It is written in the language of AppArmor 3, which has no word for user namespaces.
DOCKER = "profile docker-default flags=(attach_disconnected, mediate_deleted) { network, capability, file, umount, deny mount, }"

failures = 0


def report(name: str, wrong: list[str], note: str = "") -> None:
    global failures
    failures += bool(wrong)
    print(f"{'FAILED' if wrong else 'passed'}  {name}{': ' + note if note else ''}", flush=True)
    for line in wrong:
        print(f"        {line}", flush=True)


def load(profile: str, language: str = "4.0") -> None:
    shell(f"echo 'abi <abi/{language}>, {profile}' | apparmor_parser --replace")


def remove(*names: str) -> None:
    for name in names:
        (POLICY / ".remove").write_text(name)


def shell(command: str) -> None:
    """As root, with what a shell of a whole system has."""
    command = command.replace("| apparmor_parser ", "| busybox chroot /apparmor /usr/sbin/apparmor_parser --skip-cache ")
    done = subprocess.run(["/bin/busybox", "sh", "-c", command], capture_output=True, text=True, env={"PATH": "/bin"})
    if done.returncode:
        raise RuntimeError(f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}")


def doctor(as_user: dict, *starter: str, **environment: str) -> dict:
    done = subprocess.run([*starter, PROGRAM, "doctor", "--json"], capture_output=True, text=True, env=environment, **as_user)
    return json.loads(done.stdout or json.dumps({"levels": {"full": {}}, "said": done.stderr}))


@contextlib.contextmanager
def serving(as_user: dict, level: str, *starter: str) -> Iterator[subprocess.Popen]:
    environment = {"MAYFLY_ISOLATION": level, "MAYFLY_LISTEN": ADDRESS, "MAYFLY_WALL_MS": "60000", "MAYFLY_CPU_MS": "60000",
                   "MAYFLY_CONCURRENCY": "8"}
    server = subprocess.Popen([*starter, PROGRAM, "serve"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, **as_user)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(ADDRESS, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    break
            if server.poll() is not None:
                break
            time.sleep(0.1)
        yield server
    finally:
        server.terminate()
        server.wait(20)


def holds(as_user: dict, wanted: str, level: str) -> tuple[list[str], str]:
    """It serves at this level, and scripts and attacks come to what they must."""
    with serving(as_user, wanted) as server:
        if server.poll() is not None:
            return [f"ended with {server.returncode}: {server.stdout.read()}"], ""
        drive = subprocess.run([sys.executable, "-I", "/tests/container/drive.py", ADDRESS, level, *PARTS], capture_output=True, text=True)
    *wrong, counts = (drive.stdout + drive.stderr).strip().splitlines() or ["drive.py said nothing"]
    return wrong or ([counts] if drive.returncode else []), counts


def is_full(name: str, as_user: dict) -> None:
    full = doctor(as_user)["levels"]["full"]
    wrong, counts = holds(as_user, "full", "full")
    report(name, [*([] if full.get("granted") else [f"doctor says {full}"]), *wrong], counts)


def is_refused(name: str, as_user: dict, pattern: str) -> re.Match | None:
    """Level full is refused with a remedy of this pattern, and level seccomp is not. The remedy, if it has that."""
    told = doctor(as_user)
    full = told["levels"]["full"]
    remedy = re.fullmatch(pattern, full.get("remedy") or "")
    wrong = [] if remedy and full["granted"] is False and told["isolation"] == "seccomp" else [f"doctor says {full or told}"]
    with serving(as_user, "full") as server:
        pass
    said = server.stdout.read()
    if server.returncode != 78 or full.get("why", "?") not in said or "doctor" not in said:
        wrong.append(f"told to be at level full it ended with {server.returncode}: {said}")
    more, counts = holds(as_user, "auto", "seccomp")
    report(name, wrong + more, f"{full.get('why')}; serve ends with 78; auto: {counts}")
    return remedy


def what_ubuntu_restricts() -> None:
    """A kernel with the sysctl: whether or not the profile is loaded that it puts on those who make a user namespace."""
    pattern = r"(sysctl -w \S+=0), or for this program alone: (echo .*)"
    for loaded in (False, True):
        how = f"with the sysctl, {'with' if loaded else 'without'} the profile unprivileged_userns"
        if loaded:
            load(UBUNTU)
        RESTRICTION.write_text("1")
        remedy = is_refused(f"an ordinary user {how}", ORDINARY, pattern)
        is_full(f"root {how}", {})
        if remedy:
            shell(remedy[2])
            is_full(f"the profile that doctor names, {how}", ORDINARY)
            remove("mayfly")
            shell(remedy[1].replace("sysctl", "busybox sysctl"))
            is_full(f"the sysctl that doctor names, {how}", ORDINARY)
        RESTRICTION.write_text("0")
    remove("unprivileged_userns")


def what_a_profile_restricts(name: str, rules: str) -> None:
    """Any kernel with AppArmor: a profile that confines the program, and lacks something that level full needs."""
    load(f"profile service {PROGRAM} {{ {ALLOWED} {rules} }}")
    pattern = r"the AppArmor profile service confines Mayfly: add the flag (\w+) to it, and the rules `(.+)`"
    remedy = is_refused(f"a profile {name}", ORDINARY, pattern)
    if remedy:
        load(f"profile service {PROGRAM} flags=({remedy[1]}) {{ {ALLOWED} {remedy[2]} }}")
        is_full("the same with what doctor names", ORDINARY)
    remove("service")


def what_debian_restricts() -> None:
    """A sysctl older than AppArmor's rules, of Debian's kernels and Ubuntu's."""
    shell("busybox sysctl -w kernel.unprivileged_userns_clone=0")
    remedy = is_refused("an ordinary user with kernel.unprivileged_userns_clone=0", ORDINARY, r"(sysctl -w \S+=1)")
    shell("busybox sysctl -w kernel.unprivileged_userns_clone=1" if remedy is None else f"busybox {remedy[1]}")
    is_full("the sysctl that doctor names", ORDINARY)


def what_docker_restricts() -> None:
    """What makes a container one for `doctor`, with Docker's profile for AppArmor on it and without."""
    load(DOCKER, "3.0")
    wrong = []
    for profile in ("docker-default", "unconfined"):
        enter = f"echo exec {profile} >/proc/self/attr/exec && exec \"$@\""
        starter = ["/bin/busybox", "unshare", "--mount", "--pid", "--fork", "--mount-proc", "/bin/busybox", "sh", "-c", enter, "sh"]
        full = doctor({}, *starter, container="docker")["levels"]["full"]
        if profile == "unconfined" and full.get("granted") is not True:
            wrong.append(f"without it doctor says {full}")
        if profile != "unconfined" and not (full.get("remedy") or "").endswith("; for AppArmor also --security-opt apparmor=unconfined"):
            wrong.append(f"with it doctor says {full}")
        if profile != "unconfined":
            why = full.get("why")
    remove("docker-default")
    report("a container with Docker's profile", wrong, f"{why}; without it, level full")


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


def begin(script: str, **request: object) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(ADDRESS, timeout=60)
    connection.request("POST", "/execute", json.dumps({"script": script, **request}), {"Content-Type": "application/json"})
    return connection


def answer(connection: http.client.HTTPConnection) -> tuple[int, dict]:
    response = connection.getresponse()
    return response.status, json.loads(response.read())


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


def number(group: pathlib.Path, file: str, name: str = "") -> int:
    lines = (group / file).read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).removeprefix(name))


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
    killed = eventually(lambda: number(group, "memory.events", "oom_group_kill ") == 1, 90)
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
    before = use()
    time.sleep(2)
    crowd, *few = [now - then for now, then in zip(use(), before)]
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


def has_groups(name: str, user: int, level: str, is_thorough: bool = False, before: str = "") -> None:
    """Where a group is delegated, each child has one, and none is left; `before` is what its starter does first."""
    SERVICE.mkdir()
    for path in (SERVICE, SERVICE / "cgroup.procs", SERVICE / "cgroup.subtree_control"):
        os.chown(path, user, user)
    enter = [sys.executable, "-I", "-c", before + ENTER, str(SERVICE), str(user)]
    all = Expectations()
    with serving({}, level, *enter) as server:
        if server.poll() is not None:
            report(name, [f"ended with {server.returncode}: {server.stdout.read()}"])
            return
        connection = http.client.HTTPConnection(ADDRESS, timeout=5)
        connection.request("GET", "/capabilities")
        layer = json.loads(connection.getresponse().read())["layers"]["own-cgroup"]
        all.expect("capabilities", layer == {"granted": True}, layer)
        hello = answer(begin("def main():\n    return 'hello'"))
        all.expect("hello", hello == (200, {"result": "hello"}), hello)
        all.expect("the server", group_of(server.pid) == SERVICE / "mayfly-server", group_of(server.pid))
        all.expect("ready children", eventually(lambda: len(slots()) >= 4), slots())
        ready = slots()
        all.expect("a group for each", len(set(ready.values())) == len(ready), ready)
        if is_thorough:
            what_a_group_bounds(server, all)
    all.expect("what is left", left() == ["mayfly-server"], left())
    all.expect("who is left", not members(SERVICE / "mayfly-server"), members(SERVICE / "mayfly-server"))
    if is_thorough:
        what_a_killed_server_leaves(level, enter, all)
    shell(f"busybox rmdir {SERVICE}/mayfly-server {SERVICE}")
    report(name, all.wrong, "memory, threads and processor time of a script are bounded" if is_thorough else "one for each child")


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


def what_groups_bound() -> None:
    (GROUPS / "cgroup.subtree_control").write_text("+memory +pids +cpu")
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


def main() -> None:
    modules = pathlib.Path("/sys/kernel/security/lsm").read_text()
    has_sysctl = RESTRICTION.exists()
    report(f"Linux {os.uname().release} has AppArmor", [] if "apparmor" in modules.split(",") else [modules],
           f"and {'the' if has_sysctl else 'no'} sysctl {RESTRICTION.name}")
    is_full("root, unconfined", {})
    if has_sysctl:
        what_ubuntu_restricts()
    is_full("an ordinary user, unconfined", ORDINARY)
    what_debian_restricts()
    what_a_profile_restricts("without `userns,`", "")
    what_a_profile_restricts("that allows user namespaces and no capability in them", "userns, mount, umount, pivot_root,")
    what_a_profile_restricts("without the flag attach_disconnected", "userns, capability, mount, umount, pivot_root,")
    what_docker_restricts()
    what_groups_bound()


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    try:
        main()
    except (OSError, RuntimeError, ValueError, LookupError, http.client.HTTPException) as error:
        report("the checks themselves", [repr(error)])
    print(f"{failures} failures")
