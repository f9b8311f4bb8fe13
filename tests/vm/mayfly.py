"""Starts Mayfly in the guest, asks it, and counts what is wrong: for guest.py and groups.py."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Iterator

PROGRAM = "/mayfly/bin/mayfly"
ADDRESS = "127.0.0.1:8080"

failures = 0


def report(name: str, wrong: list[str], note: str = "") -> None:
    global failures
    failures += bool(wrong)
    print(f"{'FAILED' if wrong else 'passed'}  {name}{': ' + note if note else ''}", flush=True)
    for line in wrong:
        print(f"        {line}", flush=True)


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
def serving(as_user: dict, level: str, *starter: str, **settings: str) -> Iterator[subprocess.Popen]:
    environment = {"MAYFLY_ISOLATION": level, "MAYFLY_LISTEN": ADDRESS, "MAYFLY_WALL_MS": "60000", "MAYFLY_CPU_MS": "60000",
                   "MAYFLY_CONCURRENCY": "8", **settings}
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


def begin(script: str, **request: object) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(ADDRESS, timeout=60)
    connection.request("POST", "/execute", json.dumps({"script": script, **request}), {"Content-Type": "application/json"})
    return connection


def answer(connection: http.client.HTTPConnection) -> tuple[int, dict]:
    response = connection.getresponse()
    return response.status, json.loads(response.read())
