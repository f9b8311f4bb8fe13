"""Mixed load while zygotes and children are killed and stopped at random; afterwards nothing may be wrong, lost or left over.

    python3 tools/soak.py target/release/mayfly                      2,000 requests
    python3 tools/soak.py target/release/mayfly --requests 100000    and the report into docs/measured/soak.md with --report
    python3 tools/soak.py target/release/mayfly --hostile --minutes 30    good clients beside seven that attack: tools/hostile

Starts a server of its own on a free port of 127.0.0.1, at level full if it is granted. Posts scripts of tests/scripts with their
answers checked, attacks of tests/attacks, and requests that nobody waits for. Meanwhile processes of that server, and of no
other, get SIGKILL or SIGSTOP: zygotes, children that wait, children that run a script.

A script whose child was killed or stopped by this program can't have its answer; then it must be told so (crashed, stopped at its
time limit, or out of memory, which from outside looks the same as SIGKILL). Each such answer is set against a signal sent to a child
before it: one more than there were signals is a wrong answer. Exit status 1 if anything is wrong, lost or left over.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib

import measured
from hostile import run as hostile_run, server as hostile_server

HOME = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME / "tests" / "scripts"))
sys.dont_write_bytecode = True
from check_with_plain_python import differences  # noqa: E402  (how the corpus compares answers)

PATIENCE = 60
# Longer than this, alone on the machine, and a script is left out: the run would be about it.
SLOW = 0.8
# What a client may be told whose child was killed, and whose child was stopped.
TOLD = {signal.SIGKILL: {"crashed", "memory_limit", "cpu_limit", "exited"}, signal.SIGSTOP: {"timeout"}}
# Attacks of these layers end by themselves, soon.
QUICK = {"filter", "mount-namespace", "descriptors", "environment", "uid", "capabilities", "dumpable", "decoder", "depth-cap", "result-cap"}


def scripts():
    """The corpus: name, request, case."""
    for path in sorted((HOME / "tests/scripts").glob("*/*.json")):
        case = json.loads(path.read_text())
        request = case.get("request", {})
        if "limits" not in request:
            yield f"{path.parent.name}/{path.stem}", {**request, "script": path.with_suffix(".py").read_text()}, case


def attacks():
    preludes = tomllib.loads((HOME / "tests/attacks/preludes.toml").read_text())
    for path in sorted((HOME / "tests/attacks").glob("*.toml")):
        for attack in [] if path.stem == "preludes" else tomllib.loads(path.read_text()).get("attack", []):
            alone = not attack.keys() & {"first", "beside", "each", "differ", "levels"}
            if alone and attack["stops"] in QUICK and "timeout" not in attack["expect"]:
                before = "".join(preludes[name] for name in attack.get("prelude", ()))
                # $PORT and $HOSTNAME stay as they are: these attacks are not about who answers.
                yield attack["name"], {**attack.get("request", {}), "script": before + attack["script"]}


class Server:
    def __init__(self, program, root, settings):
        environment = {name: value for name, value in os.environ.items() if name != "PORT" and not name.startswith("MAYFLY_")}
        environment |= {"MAYFLY_LISTEN": "127.0.0.1:0", "MAYFLY_ROOT": root, **settings}
        self.log = os.memfd_create("log")
        self.process = subprocess.Popen([program, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        deadline = time.monotonic() + PATIENCE
        self.port = None
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", os.pread(self.log, 1 << 16, 0).decode(errors="replace"))
            self.port = int(found[1]) if found else None
            if self.port and self.ask(None, "GET", "/readyz")[0] == 200:
                return
            time.sleep(0.05)
        self.stop()
        sys.exit("the server did not start:\n" + os.pread(self.log, 1 << 16, 0).decode(errors="replace"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, connection, method, path, request=None):
        """Status, headers and body; status 0 when there was no answer."""
        own = connection or self.connect()
        try:
            headers = {"Content-Type": "application/json"} if request is not None else {}
            own.request(method, path, None if request is None else json.dumps(request).encode(), headers)
            answer = own.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException) as error:
            own.close()
            return 0, {}, repr(error).encode()
        finally:
            if connection is None:
                own.close()

    def processes(self):
        """Pid, state and whether a filter is on it, of every child of the server."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    text = pathlib.Path(f"/proc/{entry}/status").read_text()
                except OSError:
                    continue
                field = lambda name: re.search(rf"^{name}:\s*(\S+)", text, re.M)
                if field("PPid") and int(field("PPid")[1]) == self.process.pid:
                    found.append((int(entry), field("State")[1], field("Seccomp")[1] == "2"))
        return found

    def measured(self):
        """Open descriptors, resident KiB, and processes by state, of the server."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        resident = int(re.search(r"^VmRSS:\s*(\d+)", text, re.M)[1])
        states = collections.Counter(state for _, state, _ in self.processes())
        return len(os.listdir(f"/proc/{self.process.pid}/fd")), resident, states


class Run:
    """What is counted, by all clients together."""

    def __init__(self, server, good, hostile, arguments):
        self.server, self.good, self.hostile, self.arguments = server, good, hostile, arguments
        self.lock = threading.Lock()
        self.left = arguments.requests
        self.counts = collections.Counter()
        self.wrong, self.lost = [], []
        self.signals, self.disturbed = [], []
        self.resident = []
        self.longest = 0.0
        self.over = threading.Event()

    def next(self):
        with self.lock:
            self.left -= 1
            done = self.arguments.requests - self.left
            if done % max(1, self.arguments.requests // 10) == 0:
                self.resident.append(self.server.measured()[1])
                print(f"{done} requests, {len(self.signals)} signals, server {self.resident[-1] // 1024} MiB", flush=True)
            return self.left >= 0 and time.monotonic() < self.arguments.deadline

    def note(self, kind, text):
        with self.lock:
            (self.wrong if kind == "wrong" else self.lost).append(text)

    def judge(self, name, case, began, answer):
        """What an answer is to be counted as; `case` is None for an attack."""
        status, headers, body = answer
        ended = time.monotonic()
        with self.lock:
            self.longest = max(self.longest, ended - began)
        if status == 0:
            self.note("lost", f"{name}: {body.decode()}")
            return "lost"
        try:
            said = json.loads(body)
        except ValueError:
            self.note("wrong", f"{name}: {status} {body[:200]!r}")
            return "wrong"
        if status in (429, 503):
            clean = "retry-after" in headers and isinstance(said.get("error"), str)
            if not clean:
                self.note("lost", f"{name}: {status} {body[:200]!r} without Retry-After or a sentence")
            return f"told {status}: {said['error']}" if clean else "lost"
        if case is None:
            if status not in (200, 422) or b"ESCAPED" in body:
                self.note("wrong", f"{name}: {status} {body[:300]!r}")
                return "wrong"
            return "attacks that came to nothing"
        found = list(differences(case["body"], said, "body", case.get("match", "exact" if case["status"] == 200 else "subset") == "subset"))
        if status == case["status"] and not found:
            return "right answers"
        for number, codes in TOLD.items():
            if status == 422 and said.get("code") in codes and self.attributed(number, ended):
                return f"told of {signal.Signals(number).name}"
        self.note("wrong", f"{name}: {status} {body[:300]!r}: {found[:2]}")
        return "wrong"

    def attributed(self, number, ended):
        """Whether a signal of this kind was sent to a child before that, that no other answer was set against."""
        with self.lock:
            for one in self.signals:
                if one["number"] == number and one["whom"] != "zygote" and not one["used"] and one["at"] < ended:
                    one["used"] = True
                    return True
        return False

    def client(self, seed):
        chance = random.Random(seed)
        connection = self.server.connect()
        while self.next():
            kind = chance.choices(("good", "attack", "disconnect"), (80, 12, 8))[0]
            began = time.monotonic()
            if kind == "disconnect":
                self.disconnect(chance)
                counted = "nobody waited"
            elif kind == "attack":
                name, request = chance.choice(self.hostile)
                counted = self.judge(name, None, began, self.server.ask(connection, "POST", "/execute", request))
            else:
                name, request, case = chance.choice(self.good)
                counted = self.judge(name, case, began, self.server.ask(connection, "POST", "/execute", request))
            with self.lock:
                self.counts[counted] += 1
            if chance.random() < 0.1:
                connection.close()
                connection = self.server.connect()
        connection.close()

    def disconnect(self, chance):
        """A part of a request or all of it, and then the client is gone, by an end or by a reset."""
        script = "import time\ndef main():\n    time.sleep(0.2)\n    return 1"
        body = json.dumps({"script": script}).encode()
        bytes_ = b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        try:
            with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE) as client:
                client.sendall(bytes_[: len(bytes_) if chance.random() < 0.6 else chance.randrange(1, len(bytes_))])
                time.sleep(chance.choice((0, 0.01, 0.1)))
                if chance.random() < 0.5:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except OSError as error:
            self.note("lost", f"a connection that is to be dropped: {error!r}")

    def disturber(self, seed):
        """A signal for every so many requests: so the load stays a load."""
        chance = random.Random(seed)
        sent = 0
        while not self.over.wait(chance.uniform(0.02, 0.2)):
            done = self.arguments.requests - self.left
            if done < (sent + 1) * self.arguments.every:
                continue
            all_ = [one for one in self.server.processes() if one[1] not in "ZT"]
            zygotes, children = [one for one in all_ if not one[2]], [one for one in all_ if one[2]]
            whom = "zygote" if chance.random() < 0.25 else "child"
            among = zygotes if whom == "zygote" else children
            if not among:
                continue
            pid, _, _ = chance.choice(among)
            number = chance.choice((signal.SIGKILL, signal.SIGSTOP))
            with self.lock:
                entry = {"number": number, "whom": whom, "pid": pid, "at": time.monotonic(), "used": False}
                self.signals.append(entry)
            try:
                # A handle first, then the parent: the number can't be another process's in between.
                handle = os.pidfd_open(pid)
                try:
                    if any(one[0] == pid for one in self.server.processes()):
                        signal.pidfd_send_signal(handle, number)
                        sent += 1
                        continue
                finally:
                    os.close(handle)
            except ProcessLookupError:
                pass
            with self.lock:
                self.signals.remove(entry)


def settled(server, before):
    """Waits until descriptors are as before and no zombie is left, and measures."""
    deadline = time.monotonic() + 30
    while True:
        after = server.measured()
        if (after[0] <= before[0] and not after[2]["Z"]) or time.monotonic() > deadline:
            return after
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the release build of mayfly")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=6, choices=range(1, 9), help="requests at a time")
    parser.add_argument("--minutes", type=float, help="no new request after so long: 60; with --hostile, how long each way is attacked: 30")
    parser.add_argument("--every", type=int, default=25, help="a signal for every so many requests")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--root", default=os.environ.get("MAYFLY_ROOT", str(HOME / "target/jail")), help="the jail root")
    parser.add_argument("--hostile", action="store_true", help="good clients beside seven that attack, in each way to start the server")
    parser.add_argument("--ways", default="", help=f"with --hostile: only these of {', '.join(hostile_server.WAYS)}")
    parser.add_argument("--image", default="", help="with --hostile: an image for the ways that are containers, with docker at hand")
    parser.add_argument("--report", action="store_true", help="write docs/measured/soak.md, or hostile.md")
    arguments = parser.parse_args()
    arguments.program, arguments.root = os.path.abspath(arguments.program), os.path.abspath(arguments.root)
    arguments.minutes = arguments.minutes or (30 if arguments.hostile else 60)
    if arguments.hostile:
        return hostile_run.main(arguments)

    # Renewal, which is far off otherwise, happens several times in a run.
    server = Server(arguments.program, arguments.root, {"MAYFLY_RENEW_FORKS": "500"})
    try:
        return soak(server, arguments)
    finally:
        server.stop()


def soak(server, arguments):
    capabilities = json.loads(server.ask(None, "GET", "/capabilities")[2])
    # At level seccomp other answers hold for scripts that write.
    has_tmp = capabilities["isolation"] != "seccomp"
    good, left_out, first_wrong = [], [], []
    for name, request, case in scripts():
        case = case if has_tmp else case.get("without_files", case)
        took = []
        for _ in range(2):
            began = time.monotonic()
            status, _, body = server.ask(None, "POST", "/execute", request)
            took.append(time.monotonic() - began)
            subset = case.get("match", "exact" if case["status"] == 200 else "subset") == "subset"
            if status != case["status"] or list(differences(case["body"], json.loads(body or b"null"), "body", subset)):
                first_wrong.append(f"{name}: {status} {body[:300]!r}")
        (good if min(took) < SLOW else left_out).append((name, request, case))
    if first_wrong:
        print("wrong before anything was disturbed:", *first_wrong, sep="\n  ")
        return 1
    hostile = list(attacks())
    print(f"{len(good)} scripts with their answers ({len(left_out)} slow ones left out: {', '.join(one[0] for one in left_out)}), {len(hostile)} attacks", flush=True)
    time.sleep(2)

    before = server.measured()
    began = time.monotonic()
    arguments.deadline = began + 60 * arguments.minutes
    run = Run(server, good, hostile, arguments)
    clients = [threading.Thread(target=run.client, args=(f"{arguments.seed}/{number}",)) for number in range(arguments.clients)]
    disturber = threading.Thread(target=run.disturber, args=(f"{arguments.seed}/disturber",))
    for thread in (*clients, disturber):
        thread.start()
    for thread in clients:
        thread.join()
    run.over.set()
    disturber.join()
    took = time.monotonic() - began

    # Children that were stopped while they waited are met now, so that none of them is met by the canaries.
    drained = 0
    while any(state == "T" and jailed for _, state, jailed in server.processes()) and drained < 200:
        name, request, case = good[drained % len(good)]
        run.counts[run.judge(name, case, time.monotonic(), server.ask(None, "POST", "/execute", request))] += 1
        drained += 1
    # A stopped zygote is found out when it is asked for a child and does not answer, one that is warming up after 60 s.
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and any(state == "T" for _, state, _ in server.processes()):
        server.ask(None, "POST", "/execute", {"script": "def main():\n    return 1"})
        time.sleep(0.1)
    canaries = 0
    for _ in range(50):
        answer = server.ask(None, "POST", "/execute", {"script": "def main():\n    return 6 * 7"})
        canaries += answer[2] == b'{"result":42}'
        if answer[2] != b'{"result":42}':
            print("canary:", answer)
    after = settled(server, before)
    left_over = [one for one in server.processes() if one[1] in "ZT"]
    ended = server.stop()
    problems = []
    if run.wrong:
        problems.append("wrong answers")
    if run.lost:
        problems.append("lost requests")
    if canaries != 50:
        problems.append("canaries")
    if after[2]["Z"]:
        problems.append("zombies")
    if after[2]["T"]:
        problems.append("stopped processes")
    if after[0] > before[0] + 4:
        problems.append("descriptors")
    # A server that answers several at once holds their buffers: what counts is that it does not grow with the requests.
    if after[1] > before[1] * 1.5 + 16_384:
        problems.append("memory")
    if ended != 0:
        problems.append("the end")

    sent = collections.Counter(f"{signal.Signals(one['number']).name} to a {one['whom']}" for one in run.signals)
    command = f"python3 tools/soak.py target/release/mayfly --requests {arguments.requests} --clients {arguments.clients} --every {arguments.every} --seed {arguments.seed}"
    lines = [
        "# Soak: load while processes are killed and stopped",
        "",
        measured.origin(f"{command} --report"),
        "",
        f"Made at level `{capabilities['isolation']}` on {os.uname().machine}, Linux {'.'.join(os.uname().release.split('.')[:2])},"
        f" {os.cpu_count()} cores, in {took / 60:.1f} minutes.",
        "What counts as what is told in `tools/soak.py`. The verdict: " + (f"**not clean: {', '.join(problems)}**." if problems else "**clean**."),
        "",
        "| | |",
        "|---|---|",
        f"| requests | {sum(run.counts.values())}, {arguments.clients} at a time, {sum(run.counts.values()) / took:.0f} a second |",
        f"| wrong answers | {len(run.wrong)} |",
        f"| lost requests | {len(run.lost)} |",
        *(f"| {what} | {count} |" for what, count in sorted(run.counts.items()) if what not in ("wrong", "lost")),
        f"| signals | {len(run.signals)}: {', '.join(f'{count} × {what}' for what, count in sorted(sent.items()))} |",
        f"| longest wait for an answer | {run.longest:.1f} s |",
        f"| canaries afterwards, right | {canaries} of 50 |",
        f"| zombies afterwards | {after[2]['Z']} |",
        f"| stopped processes afterwards | {after[2]['T']} |",
        f"| processes before, after | {before[2].total()}, {after[2].total()} |",
        f"| descriptors of the server before, after | {before[0]}, {after[0]} |",
        f"| memory of the server before, after | {before[1] / 1024:.1f} MiB, {after[1] / 1024:.1f} MiB |",
        f"| … at each tenth | {', '.join(f'{one / 1024:.1f}' for one in run.resident)} |",
        f"| exit status after SIGTERM | {ended} |",
        "",
        f"Scripts: {len(good)} of `tests/scripts`; attacks: {len(hostile)} of `tests/attacks`; the zygote is renewed every 500 children.",
    ]
    print(*lines, sep="\n")
    for pid, state, _ in left_over:
        print(f"left over: process {pid}, {state}; signals to it: {[signal.Signals(one['number']).name for one in run.signals if one['pid'] == pid]}")
    for what, found in (("wrong", run.wrong), ("lost", run.lost)):
        for one in found[:20]:
            print(f"{what}: {one}")
    if arguments.report:
        (measured.MEASURED / "soak.md").write_text("\n".join(lines) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
