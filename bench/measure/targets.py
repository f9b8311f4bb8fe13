"""What Mayfly promises of its speed, each promise checked by a measurement and given with how far off it is.

The numbers are those of a machine with two cores, the load generator on the same machine. Those that compare are taken
from the rounds of `compared`; the others are measured here.
"""

import json
import statistics
import subprocess
import threading
import time

from . import compared, loads, needs, services
from .compared import FLOOR, FULL, RECIPE

MIB = 2**20


def target(what, wanted, found, limit, unit, at_most=True, digits=2):
    """One line of the table: reached or missed, and a miss as a share of the limit."""
    reached = found <= limit if at_most else found >= limit
    off = abs(found / limit - 1) if limit else 0
    return {
        "what": what,
        "target": wanted,
        "found": f"{found:,.{digits}f} {unit}".strip(),
        "value": found,
        "limit": limit,
        "reached": bool(reached),
        "verdict": "reached" if reached else f"missed by {off:.0%}",
    }


def of_comparison(results):
    """Those that the rounds answer."""
    cells, floor = results["cells"], results["floor"]
    hello, hello8 = cells["hello"][1][FULL], cells["hello"][8][FULL]
    pandas = cells["pandas_groupby"][1][FULL]
    faster, rate = f"times_faster_than_{RECIPE}", f"times_the_rate_of_{RECIPE}"
    least = {"at_most": False, "digits": 1}
    cpu = cells["hello"][8][FULL]["cpu_us"] / floor["hello"][FLOOR]["cpu_us"]
    return [
        target("hello, 1 client: p50", "≤ 0.45 ms", hello["p50_us"] / 1e3, 0.45, "ms", digits=3),
        target("hello, 1 client: against the recipe", "≥ 60× faster", hello[faster], 60, "×", **least),
        target("hello, 8 clients: rate", "≥ 1,500/s", hello8["per_second"], 1500, "/s", at_most=False, digits=0),
        target("hello, 8 clients: against the recipe", "≥ 20× its rate", hello8[rate], 20, "×", **least),
        target("hello, 8 clients: p99 against p50", "≤ 6×", hello8["p99_us"] / hello8["p50_us"], 6, "×"),
        target("processor time per hello against the floor", "≤ 1.35×", cpu, 1.35, "×"),
        target("pandas groupby, 1 client: p50", "≤ 4 ms", pandas["p50_us"] / 1e3, 4, "ms"),
        target("pandas groupby, 1 client: against the recipe", "≥ 60× faster", pandas[faster], 60, "×", **least),
    ]


def paced(rounds):
    """A client that leaves the machine time between two requests, far below what it carries; in turns with the recipe."""
    request = {"script": compared.script("hello")}
    ours, ratios = [], []
    with services.mayfly("full") as service, services.recipe() as recipe:
        for _ in range(rounds):
            pair = [
                loads.by_load(one, request, clients=1, seconds=2, rate=rate)["served"]["p50"]
                for one, rate in ((service, 100), (recipe, 10))
            ]
            ours.append(pair[0] / 1e3)
            ratios.append(pair[1] / pair[0])
    return [
        target("hello, 100 a second on one connection: p50", "≤ 0.45 ms", statistics.median(ours), 0.45, "ms", digits=3),
        target(
            "hello, 100 a second: against the recipe at 10 a second",
            "≥ 60× faster",
            statistics.median(ratios),
            60,
            "×",
            at_most=False,
            digits=1,
        ),
    ]


def own_work(pairs):
    """A script's own work, timed from inside the script: here and under a bare python3, in turns."""
    text = compared.script("work_timed")
    source = f"{text}\nprint(main())"
    ours, bare = [], []
    with services.mayfly("full", MAYFLY_PRELOAD="") as service:
        for _ in range(pairs):
            ours.append(service.post({"script": text})[2]["result"])
            done = subprocess.run([needs.python(), "-I", "-c", source], capture_output=True, text=True, check=True)
            bare.append(float(done.stdout))
    ratio = statistics.median(ours) / statistics.median(bare)
    return [target("a script's own 20 ms of work against bare python3", "within 3 %", 100 * (ratio - 1), 3, "%")]


def ready_child():
    """What one more ready child adds to the proportional memory of the service."""
    few, many = 4, 36
    sizes = []
    for ready in (few, many):
        with services.mayfly("full", MAYFLY_PRELOAD="", MAYFLY_READY=ready) as service:
            service.wait(lambda service=service, ready=ready: is_settled(service, ready), "settled")
            sizes.append(service.tree.proportional_memory())
    if None in sizes:
        needs.stop("the memory of other users' processes can't be read: run this as root")
    each = (sizes[1] - sizes[0]) / (many - few) / MIB
    return [target("memory of a ready lean child (Pss above the zygote)", "≤ 2.5 MB", each, 2.5, "MB")]


def is_settled(service, ready):
    """Whether all ready children wait for a job: the supervisor's processes are its zygote and they."""
    children = [process for process in service.tree.processes()[1:] if process.state == "S"]
    return len(children) == ready + 1


def sleeping(count=500):
    """So many scripts asleep at once."""
    script = "import time\ndef main():\n    time.sleep(6)\n    return 1\n"
    request = {"script": script, "limits": {"wall_ms": 60000}}
    most = {"memory": 0, "children": 0}
    done = threading.Event()
    with services.mayfly("full", MAYFLY_CONCURRENCY=count) as service:
        at_rest = len(service.tree.processes())

        def watch():
            while not done.wait(0.5):
                # Those beyond what there was at rest run a script.
                most["children"] = max(most["children"], len(service.tree.processes()) - at_rest)
                most["memory"] = max(most["memory"], service.tree.proportional_memory() or 0)

        watching = threading.Thread(target=watch)
        watching.start()
        report = loads.by_load(service, request, clients=count, requests=count)
        done.set()
        watching.join()
    served = report["statuses"].get("200", 0)
    return [
        target(f"{count} scripts asleep at once: served", "all", served, count, "", at_most=False, digits=0),
        target(f"{count} scripts asleep at once: whole service", "≤ 1.5 GB", most["memory"] / 2**30, 1.5, "GB")
        | {"children_seen": most["children"]},
    ]


def start(times):
    """From the start of the process to an answer."""
    lean, ready, pandas = [], [], []
    for _ in range(times):
        began = time.monotonic()
        with services.mayfly_just_started("full", MAYFLY_PRELOAD="") as service:
            service.wait(service.is_ready, "ready")
            lean.append(time.monotonic() - began)
        began = time.monotonic()
        with services.mayfly_just_started("full") as service:
            service.wait(service.is_ready, "ready")
            ready.append(time.monotonic() - began)
            status, _, _ = service.post({"script": compared.script("pandas_groupby")})
            pandas.append(time.monotonic() - began)
            if status != 200:
                needs.stop("a pandas script posted right after the start was not served")
    return [
        target("start to ready, lean alone", "≤ 120 ms", 1e3 * statistics.median(lean), 120, "ms", digits=0),
        target("start to ready, as it is set by default", "≤ 120 ms", 1e3 * statistics.median(ready), 120, "ms", digits=0),
        target("start to a pandas script's answer", "≤ 1 s", statistics.median(pandas), 1, "s"),
    ]


def overload(seconds):
    """Twice the rate that it can serve, arriving whether or not it keeps up."""
    request = {"script": compared.script("hello")}
    with services.mayfly("full") as service:
        loads.by_load(service, request, clients=8, seconds=1)
        for _ in range(3):
            few, many = [loads.by_load(service, request, clients=clients, seconds=seconds) for clients in (16, 64)]
            peak = max(few, many, key=lambda report: report["served_per_second"])
            rate = round(2 * peak["served_per_second"])
            over = loads.by_load(service, request, clients=800, seconds=seconds, rate=rate)
            # Where others were at work on the machine while the peak was sought, it was no peak.
            if over["refused"]["count"]:
                break
        status = service.post(request)[0]
    refused = over["refused"]
    with_header = over["refused_with_retry_after"]
    if over["failed"] or status != 200:
        needs.stop(f"under overload some requests got no answer at all: {over['failed']}")
    if not refused["count"]:
        needs.stop("twice the rate was not too much, three times over: the machine is too busy to say what its peak is")
    return [
        target("twice the load: a refusal, p50", "≤ 5 ms", refused["p50"] / 1e3, 5, "ms"),
        target("twice the load: a refusal, p99", "≤ 5 ms", refused["p99"] / 1e3, 5, "ms"),
        target(
            "twice the load: refusals with Retry-After", "all", with_header, refused["count"], "", at_most=False, digits=0
        ),
        target(
            "twice the load: p99 of the served against that of 64 clients, which is all it can carry",
            "≤ 2×",
            over["served"]["p99"] / many["served"]["p99"],
            2,
            "×",
        ),
        target(
            "twice the load: goodput against the peak",
            "≥ 90 %",
            100 * over["served_per_second"] / peak["served_per_second"],
            90,
            "%",
            at_most=False,
            digits=0,
        )
        | {"few": few, "many": many, "over": over},
    ]


def long_run(requests):
    """Many requests: neither slower nor larger at the end."""
    sizes, done = [], threading.Event()
    with services.mayfly("full") as service:
        loads.by_load(service, {"script": compared.script("hello")}, clients=8, requests=2000)

        def watch():
            while not done.wait(2):
                sizes.append(service.tree.proportional_memory())

        watching = threading.Thread(target=watch)
        watching.start()
        report = loads.by_load(service, {"script": compared.script("hello")}, clients=8, requests=requests)
        done.set()
        watching.join()
    tenth = max(1, len(sizes) // 10)
    first, last = statistics.median(sizes[:tenth]), statistics.median(sizes[-tenth:])
    tenths = report["p50_of_each_tenth"]
    if report["statuses"] != {"200": requests}:
        needs.stop(f"not all of the long run was served: {report['statuses']}, {report['failed']}")
    return [
        target(
            f"{requests:,} requests: p50 of the last tenth against the first",
            "within 5 %",
            100 * (tenths[-1] / tenths[0] - 1),
            5,
            "%",
        )
        | {"tenths": tenths},
        target(f"{requests:,} requests: growth of memory", "flat (≤ 5 %)", 100 * (last / first - 1), 5, "%")
        | {"memory": sizes},
    ]


# What runs inside gVisor: the service, the load, and a python3 for each run, all in one sandbox, as they would be there.
INSIDE = r"""
set -e
"$MAYFLY" serve 2>/tmp/mayfly.log &
server=$!
"$PYTHON" -I - <<'END'
import json, os, socket, subprocess, sys, time
port = int(os.environ["MAYFLY_LISTEN"].rpartition(":")[2])
def ready():
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as to:
            to.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in to.recv(100)
    except OSError:
        return False
deadline = time.monotonic() + 120
while not ready() and time.monotonic() < deadline:
    time.sleep(0.1)
time.sleep(2)
load = [os.environ["LOAD"], "--to", os.environ["MAYFLY_LISTEN"], "--body", os.environ["BODY"], "--clients", "1"]
subprocess.run([*load, "--requests", "20"], check=True, capture_output=True)
def measured(*how):
    return json.loads(subprocess.run([*load, *how], check=True, capture_output=True).stdout)
paced = measured("--requests", "50", "--rate", "5")
back_to_back = measured("--requests", "200")
with socket.create_connection(("127.0.0.1", port), 5) as to:
    to.sendall(b"GET /capabilities HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = b""
    while part := to.recv(65536):
        text += part
level = json.loads(text.partition(b"\r\n\r\n")[2])["isolation"]
times = []
for _ in range(30):
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", os.environ["SCRIPT"]], check=True, capture_output=True)
    times.append((time.perf_counter() - began) * 1e6)
middle = sorted(times)[len(times) // 2]
print("RESULT", json.dumps({"level": level, "paced": paced, "back_to_back": back_to_back, "subprocess_p50_us": middle}))
END
kill $server
"""


def gvisor():
    """Mayfly and the recipe's subprocess, both inside gVisor (tools/container/runsc.sh brings it)."""
    tool = needs.REPOSITORY / "tools" / "container" / "runsc.sh"
    found = subprocess.run([tool], capture_output=True, text=True)
    runsc = needs.CACHE / "runsc" / "root" / "usr" / "bin" / "runsc"
    if not runsc.is_file():
        needs.stop(f"gVisor does not run here: {found.stderr.strip()}")
    with loads.Body({"script": compared.script("hello")}) as body:
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "MAYFLY": needs.MAYFLY,
            "LOAD": needs.RELEASE / "examples" / "load",
            "PYTHON": needs.python(),
            "BODY": body,
            "SCRIPT": needs.BENCH / "scripts" / "hello.py",
            "MAYFLY_ROOT": needs.JAIL,
            "MAYFLY_LISTEN": "127.0.0.1:18080",
        }
        given = [f"{name}={value}" for name, value in environment.items()]
        command = [runsc, "--platform=systrap", "--network=none", "--ignore-cgroups", "do"]
        done = subprocess.run(
            [*command, "/usr/bin/env", "-i", *given, "/bin/sh", "-c", INSIDE], capture_output=True, text=True, timeout=300
        )
    if "RESULT " not in done.stdout:
        needs.stop(f"inside gVisor: {done.stdout[-1000:]} {done.stderr[-2000:]}")
    report = json.loads(done.stdout.partition("RESULT ")[2])
    lines = []
    # Ready children answer the one; the other waits for each child to be made, and a fork is what gVisor is slow at.
    for name, how in (("paced", "five a second"), ("back_to_back", "one after the other")):
        ratio = report["subprocess_p50_us"] / report[name]["served"]["p50"]
        what = f"hello under gVisor (level {report['level']}), {how}: p50 against a subprocess there"
        lines.append(target(what, "≥ 5× faster", ratio, 5, "×", at_most=False, digits=1) | report)
    return lines
