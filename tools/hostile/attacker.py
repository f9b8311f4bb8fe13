"""One attacker: from its own address, scripts by one thread and connections by another, in an order of its own, until its time is over.

    attacker.py ADDRESS PORT SEED SECONDS MEMORY

Prints what it did as one line of JSON: how often each kind, what the scripts' answers were, and what must never be seen.
"""

import collections
import http.client
import json
import os
import random
import sys
import threading
import time

import scripts
import wire


class Attacker:
    def __init__(self, source, port, seed, seconds, memory):
        self.source, self.port, self.seed, self.memory = source, port, seed, memory
        self.until = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.episodes, self.statuses, self.seen = collections.Counter(), collections.Counter(), []

    def note(self, kind, status, body=b""):
        with self.lock:
            self.statuses[f"{kind} {status}"] += 1
            if b"ESCAPED" in body or status not in (0, 200, 422, 503, 400):
                self.seen.append(f"{kind}: {status} {body[:200]!r}")

    def post(self, kind, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.source, 0))
        try:
            connection.request("POST", "/execute", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.note(kind, answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            self.note(kind, 0)
        finally:
            connection.close()

    def run_scripts(self):
        chance = random.Random(f"{self.seed}/scripts")
        while time.monotonic() < self.until:
            kinds = scripts.all_of(chance, self.memory)
            chance.shuffle(kinds)
            for kind, request, at_once in kinds:
                if time.monotonic() >= self.until:
                    return
                self.episodes[kind] += 1
                body = json.dumps(request).encode()
                posting = [threading.Thread(target=self.post, args=(kind, body)) for _ in range(at_once)]
                for thread in posting:
                    thread.start()
                for thread in posting:
                    thread.join()

    def attack_connections(self):
        chance = random.Random(f"{self.seed}/wire")
        while time.monotonic() < self.until:
            kinds = list(wire.ALL)
            chance.shuffle(kinds)
            for kind in kinds:
                if time.monotonic() >= self.until:
                    return
                self.episodes["wire: " + kind.__name__.replace("_", " ")] += 1
                connections = wire.Wire(self.source, self.port, chance.random())
                try:
                    kind(connections)
                except OSError:
                    pass
                finally:
                    connections.close()


def main():
    source, port, seed, seconds, memory = sys.argv[1:]
    # Whoever attacks does so from a machine of its own, mostly: here it must not take the server's processors itself.
    os.nice(10)
    attacker = Attacker(source, int(port), seed, float(seconds), int(memory))
    threads = [threading.Thread(target=work) for work in (attacker.run_scripts, attacker.attack_connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"episodes": attacker.episodes, "statuses": attacker.statuses, "seen": attacker.seen[:20]}))


if __name__ == "__main__":
    main()
