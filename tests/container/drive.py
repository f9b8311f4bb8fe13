#!/usr/bin/env python3
"""Sends a running Mayfly what people and attackers send it, and holds every answer to what it must be.

    drive.py ADDRESS LEVEL [--scripts PART] [--attacks PART] [--min-packages N]

ADDRESS is host:port, LEVEL the isolation level that must be in force. The scripts are those of tests/scripts, the attacks
those of tests/attacks, their answers the ones written there. PART is a whole number: 1 takes all, 5 every fifth, 0
none. It knows nothing of how the server was started. Prints one line for each wrong answer and a last one with the counts;
exit 1 if there was any.
"""

from __future__ import annotations

import argparse
import http.client
import json
import pathlib
import re
import sys
import threading
import tomllib

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "scripts"))
sys.dont_write_bytecode = True
from check_with_plain_python import differences  # noqa: E402  (how the corpus compares answers)

# Attacks that take the whole time limit tell nothing more in a container than elsewhere.
SHORT = {"wall_ms": 2000}
CANARY = ("def main(a, b):\n    import json\n    return json.loads(json.dumps({'sum': a + b}))", {"args": [2, 3]}, {"sum": 5})


class Server:
    """One connection to the server, made anew when it breaks."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.connection: http.client.HTTPConnection | None = None

    def request(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict, dict]:
        headers = {"Content-Type": "application/json"}
        encoded = None if body is None else json.dumps(body).encode()
        for attempt in (1, 2):
            connection = self.connection or http.client.HTTPConnection(self.address, timeout=30)
            fresh = self.connection is None
            try:
                connection.request(method, path, encoded, headers)
                answer = connection.getresponse()
                content = answer.read()
                self.connection = connection
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(content)
            except (OSError, http.client.HTTPException):
                connection.close()
                self.connection = None
                # An idle connection may be closed at any time; a new one that breaks is the server's fault.
                if fresh or attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def execute(self, script: str, request: dict | None = None) -> tuple[int, dict, dict]:
        return self.request("POST", "/execute", {**(request or {}), "script": script})


def check_capabilities(server: Server, level: str):
    status, _, told = server.request("GET", "/capabilities")
    if status != 200 or told.get("isolation") != level:
        yield f"/capabilities: expected isolation {level}, got {status} {told.get('isolation')}"
    for name in ("no-new-privileges", "no-capabilities", "resource-limits", "seccomp-filter", "descriptors", "watchdog"):
        if told.get("layers", {}).get(name) != {"granted": True}:
            yield f"/capabilities: layer {name} is part of every level, and is {told.get('layers', {}).get(name)}"
    for name, layer in told.get("layers", {}).items():
        if layer.get("granted") is not True and not layer.get("why"):
            yield f"/capabilities: layer {name} is not in force, and no reason is given"


def check_script(server: Server, script: pathlib.Path, level: str, has_files: bool):
    case = json.loads(script.with_suffix(".json").read_text())
    status, headers, body = server.execute(script.read_text(), case.get("request"))
    expected = case if has_files or "without_files" not in case else case["without_files"]
    match = expected.get("match", case.get("match", "exact" if expected["status"] == 200 else "subset"))
    if status != expected["status"]:
        yield f"expected {expected['status']}, got {status} {json.dumps(body)[:300]}"
    else:
        yield from differences(expected["body"], body, "body", match == "subset")
    if headers.get("mayfly-isolation") != level:
        yield f"Mayfly-Isolation is {headers.get('mayfly-isolation')}"


def is_allowed(status: int, body: dict, allowed: list[str]) -> bool:
    """Whether an attack came to what was expected: a code, `result`, or `result:` and the text or the JSON of it."""
    if status != 200:
        return body.get("code", str(status)) in allowed
    result = body["result"]
    texts = {json.dumps(result, separators=(",", ":"))} | ({result} if isinstance(result, str) else set())
    return any(one == "result" or one.removeprefix("result:") in texts for one in allowed)


def check_attack(server: Server, attack: dict, preludes: dict, level: str, place: str, port: str):
    before = "".join(preludes[name] for name in attack.get("prelude", ()))
    request = json.loads(json.dumps(attack.get("request", {})).replace("$PORT", port))
    request["limits"] = {**SHORT, **request.get("limits", {})}
    if "first" in attack:
        server.execute(before + attack["first"], request)
    status, _, body = server.execute((before + attack["script"]).replace("$PORT", port), request)
    at = attack.get("expect_at", {})
    allowed = at.get(place, at.get(level, attack["expect"]))
    if not is_allowed(status, body, allowed):
        yield f"expected {' or '.join(allowed)}, got {status} {json.dumps(body)[:300]}"
    if status >= 500:
        yield f"a script's doing was answered {status}"
    script, request, result = CANARY
    status, _, body = server.execute(script, request)
    if (status, body.get("result")) != (200, result):
        yield f"the canary after it was answered {status} {body}"


def attacks(level: str):
    """The attacks of one script each that end before the time limit; the others are the containment tests' business."""
    preludes = tomllib.loads((TESTS / "attacks/preludes.toml").read_text())
    for path in sorted((TESTS / "attacks").glob("*.toml")):
        if path.stem == "preludes":
            continue
        for attack in tomllib.loads(path.read_text()).get("attack", ()):
            alone = not attack.keys() & {"beside", "each", "differ"}
            if alone and level in attack.get("levels", (level,)) and "timeout" not in attack["expect"]:
                yield attack, preludes


def packages_of(attack: dict) -> set[str]:
    """Third-party packages without which the attack could not begin."""
    return {name for name in ("numpy", "pandas") if re.search(rf"\bimport\b.*\b{name}\b", attack["script"])}


def part(items: list, every: int) -> list:
    return items[::every] if every else []


def check_side_by_side(server: Server):
    """Sixteen at once: none waits for another longer than its own time."""
    wrong: list[str] = []

    def one(number: int) -> None:
        status, _, body = Server(server.address).execute("import time\ndef main(n):\n    time.sleep(0.2)\n    return n", {"args": [number]})
        if (status, body.get("result")) != (200, number):
            wrong.append(f"number {number} was answered {status} {body}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield from wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="Holds a running server's answers to what they must be.")
    parser.add_argument("address", help="host:port")
    parser.add_argument("level", choices=["full", "seccomp", "nsjail"])
    parser.add_argument("--place", default="", help="where it is, for attacks that expect something else there: gvisor, outer-profile")
    parser.add_argument("--scripts", type=int, default=1, metavar="PART")
    parser.add_argument("--attacks", type=int, default=1, metavar="PART")
    parser.add_argument("--min-packages", type=int, default=0, metavar="N", help="third-party packages there must be")
    parser.add_argument("--port", type=int, default=8080, metavar="PORT", help="the port as the server's own machine sees it")
    arguments = parser.parse_args()
    sys.set_int_max_str_digits(0)
    server = Server(arguments.address)
    wrong = [("capabilities", line) for line in check_capabilities(server, arguments.level)]
    _, _, told = server.request("GET", "/capabilities")
    if len(told["packages"]) < arguments.min_packages:
        wrong.append(("capabilities", f"only {len(told['packages'])} packages"))
    modules = set(told["packages"])
    scripts = [path for path in sorted((TESTS / "scripts").glob("*/*.py"))
               if set(json.loads(path.with_suffix(".json").read_text()).get("packages", ())) <= modules]
    scripts = part(scripts, arguments.scripts)
    for path in scripts:
        name = str(path.relative_to(TESTS / "scripts").with_suffix(""))
        wrong += [(name, line) for line in check_script(server, path, arguments.level, told["tmp_bytes"] > 0)]
    can_import = [one for one in attacks(arguments.level) if packages_of(one[0]) <= modules]
    chosen = part(can_import, arguments.attacks)
    for attack, preludes in chosen:
        wrong += [(attack["name"], line) for line in check_attack(server, attack, preludes, arguments.level, arguments.place, str(arguments.port))]
    wrong += [("side by side", line) for line in check_side_by_side(server)]
    for name, line in wrong:
        print(f"{name}: {line}")
    print(f"{len(scripts)} scripts and {len(chosen)} attacks at level {arguments.level}: {len(wrong)} wrong answers")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
