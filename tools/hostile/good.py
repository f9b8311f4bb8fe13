"""One well-behaved client: it asks, waits for its answer, checks it, and then asks again, from its own address.

    good.py ADDRESS PORT SEED SECONDS HAS_TMP

Mostly it says hello with a number of its own, which is timed; now and then it posts a script of tests/scripts. Prints what it saw as one
line of JSON. It must never send what a client of good will would not.
"""

import contextlib
import http.client
import json
import os
import pathlib
import random
import sys
import time

HOME = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(HOME / "tests" / "scripts"))
sys.dont_write_bytecode = True
from check_with_plain_python import differences  # noqa: E402  (how the corpus compares answers)

PAUSE = 0.04
# One request in so many is a script of the corpus.
CORPUS = 8
# Those of the corpus that take long when nobody is beside them would be slow here for no fault of the service.
FOLDERS = ("course", "data", "inputs")
HELLO = "def main(number):\n    return {'hello': number}"
# Codes by which a script is told of its limits: an honest one that is told so was starved.
STARVED = {"timeout", "cpu_limit", "memory_limit"}


def corpus(has_tmp):
    for folder in FOLDERS:
        for path in sorted((HOME / "tests/scripts" / folder).glob("*.json")):
            case = json.loads(path.read_text())
            request = case.get("request", {})
            if "limits" not in request:
                case = case if has_tmp else case.get("without_files", case)
                yield path.stem, {**request, "script": path.with_suffix(".py").read_text()}, case


class Client:
    def __init__(self, source, port):
        self.source, self.port, self.connection, self.reconnected = source, port, None, 0

    def post(self, request):
        """Status, code or body, and seconds. A connection that was idle may be closed at any time, and then a client asks again; a new one
        that gives no answer is an answer lost."""
        body = json.dumps(request).encode()
        began = time.monotonic()
        while True:
            fresh = self.connection is None
            if fresh:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(self.source, 0))
            try:
                self.connection.request("POST", "/execute", body, {"Content-Type": "application/json"})
                answer = self.connection.getresponse()
                text = answer.read()
                if answer.getheader("Connection") == "close":
                    self.close()
                return answer.status, text, time.monotonic() - began, answer.getheader("Server-Timing") or ""
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if fresh:
                    return 0, repr(error).encode(), time.monotonic() - began, ""
                self.reconnected += 1

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def go_first():
    """What is timed is the service, not how long this process waits for a processor: a client is on a machine of its own, mostly."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        pathlib.Path("/proc/self/autogroup").write_text("-15")


def main():
    source, port, seed, seconds, has_tmp = sys.argv[1:]
    go_first()
    chance, client = random.Random(seed), Client(source, int(port))
    cases = list(corpus(has_tmp == "1"))
    until, sent = time.monotonic() + float(seconds), 0
    took, slowest, right, refused, wrong, lost, starved = [], [], 0, [], [], [], []
    while time.monotonic() < until:
        sent += 1
        if sent % CORPUS:
            name, request, case = "hello", {"script": HELLO, "args": [sent]}, {"status": 200, "body": {"result": {"hello": sent}}}
        else:
            name, request, case = chance.choice(cases)
        status, text, seconds_, timing = client.post(request)
        if name == "hello":
            took.append(seconds_)
            slowest = sorted([*slowest, (seconds_, status, timing)], reverse=True)[:5]
        try:
            said = json.loads(text)
        except ValueError:
            said = None
        if status == 0:
            lost.append(f"{name}: {text.decode()}")
        elif status == 503 and isinstance(said, dict) and isinstance(said.get("error"), str):
            refused.append(said["error"])
        elif status == 422 and said.get("code") in STARVED and status != case["status"]:
            starved.append(f"{name}: {said['code']}")
        else:
            subset = case.get("match", "exact" if case["status"] == 200 else "subset") == "subset"
            found = list(differences(case["body"], said, "body", subset)) if status == case["status"] else [str(status)]
            if found:
                wrong.append(f"{name}: {status} {text[:200]!r} {found[:2]}")
            else:
                right += 1
        time.sleep(PAUSE)
    client.close()
    print(json.dumps({"took": took, "slowest": slowest, "right": right, "refused": refused, "wrong": wrong, "lost": lost, "starved": starved, "reconnected": client.reconnected}))


if __name__ == "__main__":
    main()
