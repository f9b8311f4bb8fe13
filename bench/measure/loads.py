"""Puts something under load and tells what it took: a `Window` is one thing, one script, one number of clients, once."""

import json
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass

from . import needs
from .machine import first_line

# A child that ended is reaped within 10 ms, and its time is in no sum before.
REAPING = 0.03


@dataclass
class Window:
    """What one window measured. Times are microseconds; a request that failed counts as one."""

    requests: int
    p50_us: float
    p99_us: float
    per_second: float
    cpu_us: float | None = None
    faults: float | None = None

    def as_dict(self):
        return asdict(self)


class Body:
    """A request's body as a file, which is how the load generators take it."""

    def __init__(self, request):
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(request, file)
        self.path = file.name

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        os.unlink(self.path)


def by_wrk(service, body, clients, seconds, fails=False):
    """wrk, one thread, connections kept alive where the service does."""
    before = service.tree.used()
    command = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds:.0f}s"]
    command += ["--timeout", "120s", "--latency", "--script", str(needs.BENCH / "measure" / "wrk.lua")]
    text = subprocess.run(
        [*command, f"http://{service.address}/execute", "--", body], capture_output=True, text=True, check=True
    ).stdout
    time.sleep(REAPING)
    used = service.tree.used() - before
    found = json.loads(text.partition("RESULT ")[2])
    requests = found["requests"]
    if requests == 0 and seconds < 30:
        return by_wrk(service, body, clients, 4 * seconds, fails)
    if found["broken"] or found["bad_status"] != (requests if fails else 0):
        needs.stop(f"{service.name}: {found} is not what a run without failures looks like")
    return Window(
        requests,
        found["p50_us"],
        found["p99_us"],
        requests / found["seconds"],
        used.cpu * 1e6 / requests,
        used.faults / requests,
    )


def by_load(service, request, **options):
    """Our own generator (examples/load.rs): what it printed, and what the service used meanwhile."""
    with Body(request) as body:
        command = [needs.RELEASE / "examples" / "load", "--to", service.address, "--body", body]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        before = service.tree.used()
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    time.sleep(REAPING)
    used = service.tree.used() - before
    report = json.loads(text)
    served = max(1, report["served"]["count"])
    return report | {"cpu_us": used.cpu * 1e6 / served, "faults": used.faults / served}


def by_spawning(script, clients, seconds):
    """A `python3 -I script` for each run, no jail and no HTTP: as many at once as there are clients."""
    source = f"import sys; sys.path.append({str(needs.JAIL / 'packages')!r})\n{script}\n"
    source += "import json; sys.stdout.write(json.dumps(main()))\n"
    with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
        file.write(source)
    command = [needs.python(), "-I", file.name]
    environment = {"PATH": os.environ["PATH"]}
    times, usages, deadline = [], [], time.monotonic() + seconds
    with open(os.devnull, "w") as nowhere:

        def client():
            while True:
                began = time.perf_counter()
                out, into = os.pipe()
                actions = [(os.POSIX_SPAWN_DUP2, into, 1), (os.POSIX_SPAWN_DUP2, nowhere.fileno(), 2)]
                pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
                os.close(into)
                while os.read(out, 1 << 16):
                    pass
                _, _, usage = os.wait4(pid, 0)
                os.close(out)
                times.append((time.perf_counter() - began) * 1e6)
                usages.append(usage)
                if time.monotonic() >= deadline:
                    return

        threads = [threading.Thread(target=client) for _ in range(clients)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
    os.unlink(file.name)
    times.sort()
    return Window(
        len(times),
        quantile(times, 0.5),
        quantile(times, 0.99),
        len(times) / elapsed,
        1e6 * sum(usage.ru_utime + usage.ru_stime for usage in usages) / len(usages),
        sum(usage.ru_minflt for usage in usages) / len(usages),
    ), max(usage.ru_maxrss for usage in usages) * 1024


def of_floor(script_file, runs, preload, level="full", ready=False):
    """The floor program (examples/floor.rs): what it printed."""
    environment = {"PATH": os.environ["PATH"], "MAYFLY_ROOT": str(needs.JAIL), "MAYFLY_ISOLATION": level}
    environment["MAYFLY_PRELOAD"] = preload
    # Where libpython lies outside the usual places, an example does not know where.
    library = "import sysconfig; print(sysconfig.get_config_var('LIBDIR') or '')"
    environment["LD_LIBRARY_PATH"] = first_line([needs.python(), "-I", "-c", library])
    command = [needs.RELEASE / "examples" / "floor", "--script", script_file, "--runs", str(runs)]
    command += ["--ready"] if ready else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        needs.stop(f"the floor program failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def quantile(ordered, share):
    """A quantile of numbers in order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
