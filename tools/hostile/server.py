"""The server that is attacked: started here, as root, as an ordinary user or in a container, and measured from outside through /proc."""

import collections
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

PATIENCE = 60
# What an ordinary user is here: nobody has this id, and no other process.
STRANGER = 61234
HOME = pathlib.Path(__file__).resolve().parent.parent.parent
# As deploy/README.md starts it, but for the network: a published port would make all clients one address.
CONTAINER = ["--network", "host", "--memory", "1g", "--memory-swap", "1g", "--pids-limit", "512", "--security-opt", "no-new-privileges", "--cap-drop", "ALL", "--read-only"]
OUTER_PROFILE = ["--security-opt", f"seccomp={HOME / 'deploy/seccomp-outer.json'}"]

# The ways to start it: who runs it, and at which level.
WAYS = {
    "root-full": ("root", "full"),
    "root-seccomp": ("root", "seccomp"),
    "user-full": ("user", "full"),
    "user-seccomp": ("user", "seccomp"),
    "container-full": ("container", "full"),
    "container-seccomp": ("container", "seccomp"),
}


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Server:
    """A running server. Whoever is done with it stops it."""

    def __init__(self, way, program, root, image):
        self.whose, self.level = WAYS[way]
        self.port, self.container, self.copied = free_port(), None, None
        self.log = tempfile.TemporaryFile()
        settings = {"MAYFLY_LISTEN": f"127.0.0.1:{self.port}", "MAYFLY_ISOLATION": self.level}
        if self.whose == "container":
            self.start_container(image, settings)
        else:
            settings["MAYFLY_MAX_MEMORY_MB"] = "512"
            self.start_process(program, root, settings)
        self.memory = 1024 if self.whose == "container" else 512
        self.wait_ready()

    def start_process(self, program, root, settings):
        before = []
        if self.whose == "user":
            # A home directory is often closed to strangers.
            self.copied = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-hostile-"))
            self.copied.chmod(0o755)
            program = shutil.copy(program, self.copied / "mayfly")
            subprocess.run(["cp", "-a", root, self.copied / "jail"], check=True)
            root = self.copied / "jail"
            if os.geteuid() == 0:
                before = ["setpriv", "--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
        environment = {name: value for name, value in os.environ.items() if name != "PORT" and not name.startswith("MAYFLY_")}
        environment |= {**settings, "MAYFLY_ROOT": str(root)}
        self.process = subprocess.Popen([*before, program, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log, cwd="/", start_new_session=True)
        self.pid = self.process.pid

    def start_container(self, image, settings):
        profile = OUTER_PROFILE if self.level == "full" else []
        environment = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
        started = subprocess.run(["docker", "run", "--detach", *CONTAINER, *profile, *environment, image], capture_output=True, text=True, check=False)
        if started.returncode:
            raise SystemExit(f"the container did not start: {started.stderr}")
        self.container = started.stdout.strip()
        told = subprocess.run(["docker", "inspect", "--format", "{{.State.Pid}}", self.container], capture_output=True, text=True, check=True)
        self.pid, self.process = int(told.stdout), None

    def wait_ready(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.is_alive():
            if self.get("/readyz")[0] == 200:
                return
            time.sleep(0.1)
        text = self.words()
        self.stop()
        raise SystemExit("the server did not start:\n" + text[-3000:])

    def is_alive(self):
        return pathlib.Path(f"/proc/{self.pid}").exists() and (self.process is None or self.process.poll() is None)

    def words(self):
        """The log so far."""
        if self.container:
            done = subprocess.run(["docker", "logs", self.container], capture_output=True, text=True, check=False, errors="replace")
            return done.stdout + done.stderr
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def stop(self):
        """Ends it; its exit status."""
        if self.container:
            subprocess.run(["docker", "stop", "--time", "20", self.container], capture_output=True, check=False)
            told = subprocess.run(["docker", "inspect", "--format", "{{.State.ExitCode}}", self.container], capture_output=True, text=True, check=False)
            subprocess.run(["docker", "rm", "--force", self.container], capture_output=True, check=False)
            return int(told.stdout.strip() or -1)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.copied:
            shutil.rmtree(self.copied, ignore_errors=True)
        return self.process.returncode

    def get(self, path, timeout=30):
        """Status, body, and seconds; status 0 when there was no answer."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(), time.monotonic() - began
        except (OSError, http.client.HTTPException) as error:
            return 0, repr(error).encode(), time.monotonic() - began
        finally:
            connection.close()

    def capabilities(self):
        return json.loads(self.get("/capabilities")[1])

    def processes(self):
        """Pid and state of each process below the server."""
        parents = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, IndexError):
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                parents[int(entry)] = (int(fields[1]), fields[0])
        found, wave = {}, {self.pid}
        while wave:
            wave = {pid for pid, (parent, _) in parents.items() if parent in wave}
            found |= {pid: parents[pid][1] for pid in wave}
        return found

    def measured(self):
        """What it holds: descriptors, threads, resident memory in MiB, processes by state, and memory of all of them in MiB."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        number = lambda name: int(re.search(rf"^{name}:\s*(\d+)", status, re.M)[1])
        processes = self.processes()
        share = 0
        for pid in (self.pid, *processes):
            with contextlib.suppress(OSError, TypeError):
                share += int(re.search(r"^Pss:\s*(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
        return {
            "descriptors": len(os.listdir(f"/proc/{self.pid}/fd")),
            "threads": number("Threads"),
            "memory": number("VmRSS") / 1024,
            "all_memory": share / 1024,
            "processes": len(processes),
            "zombies": collections.Counter(processes.values())["Z"],
        }
