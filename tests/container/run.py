#!/usr/bin/env python3
"""Builds the image and starts it in every way that deploy/README.md names, and tests each container from outside.

    tests/container/run.py [--variant slim|datasci] [--no-build] [--only WAY] [--all]

Needs Linux, root or a DOCKER_HOST, and nothing else: tools/container brings the engine, a base image and gVisor. An engine that
this starts it also stops; one that `tools/container/engine.sh start` left running stays, which saves its start. For each way it
holds the isolation level and the layers that /capabilities tells to what that way must grant, and sends the scripts of
tests/scripts and a score of the attacks of tests/attacks (--all: each of them), by drive.py. Around these: what only a container
can show. Prints a line for each check, and exits 1 if one failed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TOOLS = REPOSITORY / "tools/container"
OUTER_PROFILE = ["--security-opt", f"seccomp={REPOSITORY / 'deploy/seccomp-outer.json'}"]
HARDENED = [
    "--security-opt", "no-new-privileges", "--cap-drop", "ALL", "--read-only", "--memory", "1g", "--pids-limit", "512",
]
# Every attack takes a canary with it, so a score of them is quick and still says whether this way holds.
SCORE = 20


@dataclass
class Way:
    """One way to start the container, and what it must grant."""

    name: str
    level: str
    options: list[str]
    granted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """What an attack's `expect_at` calls it."""
        if "runsc" in self.options:
            return "gvisor"
        return "outer-profile" if OUTER_PROFILE[-1] in self.options else self.name


NAMESPACES = ["user-namespace", "pid-namespace", "mount-namespace", "network-namespace", "own-root", "private-tmp"]
WAYS = [
    Way("privileged", "full", ["--privileged"], NAMESPACES),
    Way("our outer profile, hardened", "full", [*OUTER_PROFILE, *HARDENED, "--env", "MAYFLY_ISOLATION=full"], NAMESPACES),
    Way("our outer profile, as root", "full", [*OUTER_PROFILE, "--user", "0"], [*NAMESPACES, "own-ids"]),
    Way("plain", "seccomp", [], ["landlock", "paths-below-root"], ["own-root", "own-ids", *NAMESPACES[:4]]),
    Way("plain as root", "seccomp", ["--user", "0"], ["landlock", "own-root", "own-ids"], NAMESPACES[:4]),
    Way("hardened", "seccomp", HARDENED, ["landlock", "paths-below-root"], ["own-root", "own-ids", *NAMESPACES[:4]]),
    Way("gvisor", "full", ["--runtime", "runsc"], NAMESPACES),
]

failures: list[str] = []
# What a check that goes wrong may end with, besides what it reports.
EXPECTED = (OSError, RuntimeError, ValueError, LookupError, http.client.HTTPException)


def report(name: str, wrong: list[str], note: str = "") -> None:
    print(f"{'FAILED' if wrong else 'passed'}  {name}{': ' + note if note else ''}", flush=True)
    for line in wrong:
        print(f"        {line}", flush=True)
    failures.extend(wrong)


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


def docker(*arguments: str, check: bool = True) -> str:
    return run("docker", *arguments, check=check)


@dataclass
class Container:
    """A container that serves, or that ended at once."""

    name: str
    address: str
    ready_ms: float

    def get(self, path: str) -> dict:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    def execute(self, script: str, **request: object) -> tuple[int, dict]:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("POST", "/execute", json.dumps({"script": script, **request}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def log(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def state(self, what: str) -> str:
        return docker("inspect", "--format", "{{" + what + "}}", self.name)


def is_ready(address: str) -> bool:
    try:
        connection = http.client.HTTPConnection(address, timeout=2)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


@contextlib.contextmanager
def started(image: str, options: list[str], port: int = 8080) -> Iterator[Container]:
    """A container until it is ready, then removed, whatever happens."""
    begun = time.monotonic()
    name = docker("run", "--detach", "--publish", f"127.0.0.1::{port}", *options, image)
    container = Container(name, "", 0)
    try:
        while time.monotonic() < begun + 60:
            if container.state(".State.Status") != "running":
                raise RuntimeError(f"the container ended: {container.log()}")
            # gVisor's port may be bound for both families of addresses.
            container.address = docker("port", name, f"{port}/tcp", check=False).partition("\n")[0]
            if container.address and is_ready(container.address):
                break
            time.sleep(0.02)
        else:
            raise RuntimeError(f"not ready after a minute: {container.log()}")
        container.ready_ms = (time.monotonic() - begun) * 1000
        yield container
    finally:
        docker("rm", "--force", name)


def check_way(image: str, way: Way, every: int, packages: int) -> None:
    """Level, layers, scripts, attacks, health check, and an orderly end."""
    wrong: list[str] = []
    begun = time.monotonic()
    with started(image, way.options) as container:
        layers = container.get("/capabilities")["layers"]
        wrong += [f"layer {name} must be granted, and is {layers.get(name)}"
                  for name in way.granted if layers.get(name) != {"granted": True}]
        wrong += [f"layer {name} can't be granted, and is {layers.get(name)}"
                  for name in way.refused if layers.get(name, {}).get("granted") is not False]
        drive = subprocess.run(
            [sys.executable, str(HERE / "drive.py"), container.address, way.level, "--place", way.place, "--attacks", str(every),
             "--min-packages", str(packages)], capture_output=True, text=True, check=False)
        *lines, counts = (drive.stdout + drive.stderr).strip().splitlines() or ["drive.py said nothing"]
        wrong += lines
        if drive.returncode and not lines:
            wrong.append(counts)
        for _ in range(150):
            if container.state(".State.Health.Status") != "starting":
                break
            time.sleep(0.1)
        if container.state(".State.Health.Status") != "healthy":
            wrong.append(f"its own health check finds it {container.state('.State.Health.Status')}")
        docker("stop", "--time", "10", container.name)
        if container.state(".State.ExitCode") != "0":
            wrong.append(f"SIGTERM ended it with {container.state('.State.ExitCode')}: {container.log()[-1000:]}")
    seconds = time.monotonic() - begun
    report(way.name, wrong, f"level {way.level}, ready {container.ready_ms:.0f} ms after `docker run`; {counts}; {seconds:.0f} s")


# ---- what only a container can show ----------------------------------------------------------------------------------


def refuses_a_level_it_cannot_have(image: str) -> list[str]:
    done = subprocess.run(["docker", "run", "--rm", "--env", "MAYFLY_ISOLATION=full", image],
                          capture_output=True, text=True, check=False)
    wrong = [] if done.returncode == 78 else [f"exit {done.returncode} and not 78: {done.stderr}"]
    if "doctor" not in done.stderr or "full" not in done.stderr:
        wrong.append(f"it does not say what to do: {done.stderr}")
    return wrong


def doctor(image: str, *options: str) -> tuple[int, dict]:
    done = subprocess.run(["docker", "run", "--rm", *options, image, "doctor", "--json"],
                          cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}")


def does_what_doctor_says(image: str) -> list[str]:
    """Takes each remedy that `doctor` names at its word, and sees it help."""
    wrong = []
    status, told = doctor(image)
    if status != 0 or told["isolation"] != "seccomp":
        wrong.append(f"exit {status}, and auto would take {told.get('isolation')}")
    full = told["levels"]["full"]
    remedy = re.match(r"docker run (.+) …, or (--privileged)(?:; for AppArmor also (.+))?$", full.get("remedy") or "")
    if remedy is None:
        return [*wrong, f"for level full it says {full}"]
    profile, privileged, apparmor = remedy.groups()
    for options in (f"{profile} {apparmor or ''}".split(), [privileged]):
        _, then = doctor(image, *options)
        if then["levels"]["full"]["granted"] is not True:
            wrong.append(f"{options} gives no level full: {then['levels']['full']}")
    for layer in ("own-root", "own-ids"):
        said = told["levels"]["seccomp"]["layers"][layer]
        remedy = re.match(r"docker run (--user 0) …:", said.get("remedy") or "")
        if remedy is None:
            wrong.append(f"for {layer} it says {said}")
            continue
        _, then = doctor(image, *remedy[1].split())
        if then["levels"]["seccomp"]["layers"][layer] != {"granted": True}:
            wrong.append(f"{remedy[1]} gives no {layer}: {then['levels']['seccomp']['layers'][layer]}")
    # The same profile in the words of a manifest, whose reader starts nothing by hand.
    _, told = doctor(image, "--env", "KUBERNETES_SERVICE_HOST=192.0.2.1")
    if not (told["levels"]["full"]["remedy"] or "").startswith("seccompProfile: {type: Localhost"):
        wrong.append(f"in a pod it says {told['levels']['full']}")
    # gVisor needs nothing, and nothing gives it Landlock.
    _, told = doctor(image, "--runtime", "runsc")
    if told["isolation"] != "full" or told["levels"]["seccomp"]["layers"]["landlock"].get("remedy"):
        wrong.append(f"under gVisor it says {told}")
    return wrong


def serves_after_standing_still(image: str) -> list[str]:
    """As on Cloud Run, where the processor stops as soon as an answer is sent; what is ready by then is what there is."""
    wrong = []
    for options in ([], ["--runtime", "runsc"]):
        with started(image, ["--env", "K_SERVICE=mayfly", "--env", "MAYFLY_READY=1", *options]) as container:
            for turn in range(5):
                status, body = container.execute("def main(turn):\n    return turn", args=[turn])
                docker("pause", container.name)
                time.sleep(1)
                docker("unpause", container.name)
                if (status, body.get("result")) != (200, turn):
                    wrong.append(f"{options}: turn {turn} was answered {status} {body}")
            warm = [line for line in container.log().splitlines() if "warm zygote=" in line]
            if len(warm) != 1:
                wrong.append(f"{options}: a zygote was taken for dead while nothing ran: {container.log()[-2000:]}")
    return wrong


def listens_where_port_says(image: str) -> list[str]:
    with started(image, ["--env", "PORT=9123"], 9123) as container:
        status, _ = container.execute("def main():\n    return 1")
        return [] if status == 200 else [f"answered {status}"]


def keeps_to_the_memory_it_has(image: str) -> list[str]:
    wrong = []
    with started(image, ["--memory", "512m", "--memory-swap", "512m"]) as container:
        concurrency = container.get("/capabilities")["concurrency"]
        # 512 MiB hold one script at its limit of 256 MiB beside the server.
        if concurrency != 1:
            wrong.append(f"{concurrency} scripts at once in 512 MiB")
        bomb = "def main():\n    kept = []\n    while True:\n        kept.append(b'x' * (1 << 20))"
        for memory in (256, 1024):
            status, body = container.execute(bomb, limits={"memory_mb": memory})
            if (status, body.get("code")) != (422, "memory_limit"):
                wrong.append(f"a bomb of {memory} MiB was answered {status} {body}")
            status, body = container.execute("def main():\n    return 'alive'")
            if (status, body.get("result")) != (200, "alive"):
                wrong.append(f"after a bomb of {memory} MiB: {status} {body}")
        if container.state(".State.OOMKilled") == "true" and container.state(".State.Running") != "true":
            wrong.append("the service itself was killed")
        warm = [line for line in container.log().splitlines() if "warm zygote=" in line]
        if len(warm) != len(set(line.split("zygote=")[1].split()[0] for line in warm)):
            wrong.append("a zygote had to be replaced: " + container.log()[-2000:])
    return wrong


@contextlib.contextmanager
def metadata_server() -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """A stand-in for a cloud's metadata server: an address that the container reaches, and who connected to it."""
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    seen: list[tuple[str, int]] = []
    with socket.create_server((gateway, 0)) as listener:
        listener.settimeout(0.1)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, peer = listener.accept()
                    seen.append(peer)
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nmarker-token")
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{gateway}:{listener.getsockname()[1]}", seen
        finally:
            done.set()
            thread.join()


def does_not_reach_the_metadata_server(image: str) -> list[str]:
    wrong = []
    with metadata_server() as (address, seen):
        # First that the listener can be reached from a container at all, or the rest would prove nothing.
        base = run("sed", "-n", "s/^ARG BASE=//p", str(REPOSITORY / "Dockerfile"))
        host, _, port = address.partition(":")
        said = docker("run", "--rm", base, "bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}; cat <&3", check=False)
        if "marker-token" not in said or not seen:
            wrong.append(f"the stand-in at {address} can't be reached from a container, so nothing is proved: {said}")
        seen.clear()
        fetch = (f"def main():\n    import urllib.request\n    return urllib.request.urlopen('http://{address}/computeMetadata/v1/', "
                 "timeout=2).read().decode()")
        for options in ([], OUTER_PROFILE, [*OUTER_PROFILE, "--user", "0"], ["--runtime", "runsc"]):
            with started(image, options) as container:
                status, body = container.execute(fetch)
                if status != 422 or "marker-token" in json.dumps(body):
                    wrong.append(f"{options}: {status} {body}")
        if seen:
            wrong.append(f"it was connected to by {seen}")
    return wrong


def sees_no_environment_of_the_server(image: str) -> list[str]:
    with started(image, ["--env", "CLOUD_TOKEN=marker-token", "--env", "K_SERVICE=marker-service"]) as container:
        status, body = container.execute("def main():\n    import os\n    return dict(os.environ)")
        return [] if status == 200 and "marker" not in json.dumps(body) else [f"{status} {body}"]


def has_only_what_runs(image: str) -> list[str]:
    """No shell, no interpreter, no package manager, no set-uid file in the image; CPython is in the program, and only there."""
    container = docker("create", image)
    try:
        listing = subprocess.run(["sh", "-c", f"docker export {container} | tar --list --verbose"],
                                 capture_output=True, text=True, check=True).stdout.splitlines()
    finally:
        docker("rm", container)
    wrong = []
    for line in listing:
        mode, _, size, _, _, path = line.split(None, 5)
        name = path.split(" -> ")[0].rsplit("/", 1)[-1]
        # Docker's own mount points are empty.
        if size == "0":
            continue
        if mode.startswith("-") and ("s" in mode or name in {"sh", "bash", "dash", "python3", "pip", "apt", "dpkg", "gcc", "cargo"}):
            wrong.append(line)
        if name.startswith("libpython"):
            wrong.append(f"a second CPython: {line}")
        if mode.startswith("-") and mode[3] == "x" and not (name == "mayfly" or ".so" in name):
            wrong.append(f"an executable: {line}")
    return wrong


# A script for each package that `datasci` has on top, and its result.
DATASCI = {
    "matplotlib": ("""import io
import matplotlib.pyplot as plt
def main():
    figure, axes = plt.subplots()
    axes.plot([1, 2, 4], label="growth")
    axes.set_title("a title")
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()[:8]""", "iVBORw0KGgo="),
    "scikit-learn": ("""from sklearn.linear_model import LinearRegression
def main():
    return round(LinearRegression().fit([[1], [2], [3]], [2, 4, 6]).predict([[10]])[0], 6)""", 20.0),
    "scipy": ("""from scipy import optimize, stats
def main():
    return [round(optimize.brentq(lambda x: x * x - 2, 0, 2), 6), round(float(stats.norm.cdf(1.96)), 3)]""", [1.414214, 0.975]),
    "sympy": ("""import sympy
def main():
    x = sympy.Symbol("x")
    return [str(sympy.diff(x ** 3)), str(sympy.solve(x ** 2 - 4, x))]""", ["3*x**2", "[-2, 2]"]),
}


def uses_what_it_brings(image: str) -> list[str]:
    """Each package in each way, at one of which there is nothing to write to; preloaded, imported by the script, and cold.
    Prints the shortest of three times for each."""
    wrong = []
    ways = {"plain": [], "hardened": HARDENED, "our profile": OUTER_PROFILE, "gvisor": ["--runtime", "runsc"]}
    for name, options in ways.items():
        for what, settings in (("preloaded", []), ("imported", ["--env", "MAYFLY_PRELOAD=numpy,pandas"]),
                               ("cold", ["--env", "MAYFLY_START=cold"])):
            times = {}
            with started(image, [*options, *settings]) as container:
                for package, (script, expected) in DATASCI.items():
                    for _ in range(3):
                        begun = time.monotonic()
                        # Imports count as the script's own memory; a cold start imports all there is to scikit-learn.
                        limits = {"wall_ms": 30_000, "cpu_ms": 30_000, "memory_mb": 512 if what == "cold" else 256}
                        status, body = container.execute(script, limits=limits)
                        took = (time.monotonic() - begun) * 1000
                        times[package] = min(took, times.get(package, took))
                        if (status, body.get("result")) != (200, expected):
                            wrong.append(f"{package}, {name}, {what}: {status} {body}")
                if "could not be preloaded" in container.log():
                    wrong.append(f"{name}, {what}: {container.log()[-2000:]}")
            print(f"        {name}, {what}: " + ", ".join(f"{package} {took:.0f} ms" for package, took in times.items()), flush=True)
    return wrong


ESTIMATORS = (HERE / "estimators.py").read_text()
PARTS = 8


def fits_every_estimator(image: str) -> list[str]:
    """scikit-learn's estimators, at the level of a container with nothing granted and at that of one with everything."""
    wrong = []
    for name, options in (("plain", []), ("our profile", OUTER_PROFILE)):
        fitted = 0
        with started(image, options) as container:
            for part in range(PARTS):
                limits = {"wall_ms": 60_000, "cpu_ms": 60_000, "memory_mb": 1024}
                status, body = container.execute(ESTIMATORS, args=[part, PARTS], limits=limits)
                failed = body.get("result", {}).get("failed") if status == 200 else body
                if failed:
                    wrong.append(f"{name}, part {part}: {failed}")
                else:
                    fitted += body["result"]["fitted"]
        if fitted < 200 and not wrong:
            wrong.append(f"{name}: only {fitted} estimators")
    return wrong


CHECKS: list[Callable[[str], list[str]]] = [
    refuses_a_level_it_cannot_have, does_what_doctor_says, serves_after_standing_still, listens_where_port_says, keeps_to_the_memory_it_has,
    does_not_reach_the_metadata_server, sees_no_environment_of_the_server, has_only_what_runs,
]


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """An engine with the base image and gVisor: the one of DOCKER_HOST, or our own, which is left as it was found."""
    if "DOCKER_HOST" in os.environ:
        run(str(TOOLS / "runsc.sh"))
        yield
        return
    script = str(TOOLS / "engine.sh")
    was_running = subprocess.run([script, "status"], capture_output=True, check=False).returncode == 0
    try:
        os.environ["DOCKER_HOST"] = run(script, "start").splitlines()[-1]
        run(str(TOOLS / "base_image.sh"))
        run(str(TOOLS / "runsc.sh"))
        yield
    finally:
        if not was_running:
            run(script, "stop")


def main() -> None:
    parser = argparse.ArgumentParser(description="Tests the image in every way it can be started.")
    parser.add_argument("--variant", choices=["slim", "datasci"], default="slim")
    parser.add_argument("--no-build", action="store_true", help="take the image mayfly:VARIANT as it is")
    parser.add_argument("--only", default="", metavar="WAY", help="only what has this in its name")
    parser.add_argument("--all", action="store_true", help="every attack, not a score")
    arguments = parser.parse_args()
    # So that the engine is stopped whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begun = time.monotonic()
    image = f"mayfly:{arguments.variant}"
    with engine():
        print(f"engine, base image and gVisor after {time.monotonic() - begun:.0f} s", flush=True)
        if not arguments.no_build:
            run(str(TOOLS / "build_image.sh"), arguments.variant, image)
            print(f"built   {image} after {time.monotonic() - begun:.0f} s", flush=True)
        check_all(image, arguments)
    print(f"{len(failures)} failures in {time.monotonic() - begun:.0f} s")
    sys.exit(1 if failures else 0)


def check_all(image: str, arguments: argparse.Namespace) -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
    report("size", [] if arguments.variant != "slim" or size <= 150_000_000 else ["slim may have 150 MB"], f"{size / 1e6:.0f} MB")
    sys.path.insert(0, str(HERE))
    import drive  # noqa: PLC0415 - beside this file, wherever that is
    # Docker's own AppArmor profile refuses every mount; where the engine has it, deploy/README.md says to leave it off.
    has_apparmor = "name=apparmor" in docker("info", "--format", "{{.SecurityOptions}}")
    chosen = 0
    for way in WAYS:
        if arguments.only in way.name:
            chosen += 1
            every = 1 if arguments.all else sum(1 for _ in drive.attacks(way.level)) // SCORE
            if has_apparmor and way.options[:2] == OUTER_PROFILE:
                way = replace(way, options=[*way.options, "--security-opt", "apparmor=unconfined"])
            try:
                check_way(image, way, every, 15 if arguments.variant == "datasci" else 0)
            except EXPECTED as error:
                report(way.name, [repr(error)])
    for check in CHECKS if arguments.variant == "slim" else [uses_what_it_brings, fits_every_estimator]:
        name = check.__name__.replace("_", " ")
        if arguments.only in name:
            chosen += 1
            begun = time.monotonic()
            try:
                wrong = check(image)
                report(name, wrong, f"{time.monotonic() - begun:.0f} s")
            except EXPECTED as error:
                report(name, [repr(error)])
    if not chosen:
        report("the choice", [f"nothing has {arguments.only!r} in its name"])


if __name__ == "__main__":
    main()
