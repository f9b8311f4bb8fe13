"""Leaves out one layer of the jail at a time and writes which tests notice to docs/measured/mutants.md. Fails if a layer goes unmissed.

    python3 tools/mutants.py                         all layers: some minutes
    python3 tools/mutants.py seccomp-filter own-ids  these alone, printed instead of written

Needs root, for level full. Builds the test build (`fault-injection`), the only one that can leave a layer out, and runs with it
`tests/layers.rs` by the names below, and attacks of `tests/attacks` over HTTP. Every attack is run inside Mayfly's jail, with a
single layer missing; those that would be harmful without the layer are left to `tests/layers.rs`, which looks from outside.
The check at start, which would refuse to serve without most layers, is left out too, except to see what it says by itself.
Control groups are left out in the guest of `tests/vm/run.py`, whose kernel has them whatever this one has: that needs x86_64.
"""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import tomllib

import layers
import measured

HOME = pathlib.Path(__file__).resolve().parent.parent
TABLE = measured.MEASURED / "mutants.md"
WALL = 20

# Layer: the tests of tests/layers.rs by a part of their names (a name without :: is the whole name), and attacks at level full,
# or at level seccomp where they are after a bar.
LAYERS = {
    "zygote-descriptors": ("zygote-descriptors", ""),
    "out-of-memory-score": ("full::out-of-memory-score", ""),
    "child-out-of-memory-score": ("::child-out-of-memory-score", ""),
    "umask": ("::umask", ""),
    "user-namespace": ("::user-namespace", ""),
    "id-map": ("full::user-namespace", ""),
    "zygote-ids": ("full::zygote-ids", ""),
    "shared-namespaces": ("::network-namespace ::uts-namespace ::cgroup-namespace", "reads-the-host-s-name"),
    "network-namespace": ("::network-namespace", ""),
    "uts-namespace": ("::uts-namespace", "reads-the-host-s-name"),
    "cgroup-namespace": ("::cgroup-namespace", ""),
    "ipc-namespace": ("::ipc-namespace", ""),
    "pid-namespace": ("::pid-namespace", "is-not-first-in-its-pid-namespace"),
    "mount-namespace": ("::mount-namespace ::private-tmp", ""),
    "host-name": ("::host-name", "reads-the-host-s-name"),
    "private-mounts": ("private-mounts-where-others-are-shared", ""),
    "bind-root": ("full::own-root", ""),
    "bind-devices": ("::devices ::mounts", ""),
    "read-only-root": ("::mounts", "writes-to-the-root-directory"),
    "pivot-root": ("::own-root ::files-of-the-host", "reads-etc-passwd reads-etc-passwd-by-raw-openat reads-environ-of-its-parent-and-itself"),
    "chroot": ("seccomp::own-root seccomp::files-of-the-host", "|finds-the-old-root sees-what-is-above-the-root"),
    "bounding-set": ("::bounding-set", "has-a-bounding-set"),
    "common-limits": ("::resource-limits", "runs-without-limits"),
    "core-limit": ("full::resource-limits", "runs-without-limits"),
    "file-size-limit": ("full::resource-limits", "fills-the-private-directory-with-one-file"),
    "open-files-limit": ("full::resource-limits", "uses-high-descriptor-numbers"),
    "stack-limit": ("full::resource-limits", "runs-without-limits"),
    "locked-memory-limit": ("full::resource-limits", "runs-without-limits"),
    "message-queue-limit": ("full::resource-limits", "runs-without-limits"),
    "pending-signals-limit": ("full::resource-limits", "runs-without-limits"),
    "alone": ("alone", ""),
    "signals": ("::signals", ""),
    "zygote-dumpable": ("::zygote-dumpable", ""),
    "zygote-parent-death-signal": ("zygote-parent-death-signal", ""),
    "descriptors": ("::descriptors", "counts-its-descriptors finds-an-inherited-directory"),
    "session": ("::session", ""),
    "private-tmp": ("::private-tmp ::mounts", "fills-the-private-directory-with-one-file"),
    "working-directory": ("::working-directory", ""),
    "address-space-limit": ("full::resource-limits", "maps-memory-without-reserving-it"),
    "cpu-limit": ("full::resource-limits", "runs-without-limits"),
    "huge-pages": ("::huge-pages", ""),
    "own-user-namespace": ("::own-user-namespace", ""),
    "process-limit": ("::process-limit", "runs-without-limits"),
    "own-ids": ("::own-ids", "is-root"),
    "no-capabilities": ("::no-capabilities", "has-capabilities"),
    "dumpable": ("::dumpable", "is-dumpable"),
    "parent-death-signal": ("parent-death-signal", ""),
    "no-new-privileges": ("::no-new-privileges", "has-no-filter"),
    "landlock": ("landlock::files-of-the-host", ""),
    "paths-below-root": ("landlock::files-of-the-host", ""),
    "seccomp-filter": ("::seccomp-filter", "opens-an-internet-socket maps-anonymous-memory-executable asks-to-be-traced forks-through-the-library"),
    "clean-environment": ("::clean-environment", "reads-the-environment-through-libc"),
    "reseed": ("reseed", "predicts-random"),
    "reply-cap": ("::reply-cap", ""),
    "result-cap": ("::result-cap", ""),
    "output-cap": ("::output-cap", ""),
    "output-flood": ("::output-flood", ""),
    "wall-clock": ("::wall-clock", ""),
    "cpu-watch": ("::cpu-watch", ""),
    "memory-watch": ("::memory-watch", "fills-memory-with-page-tables"),
}

# Layers that need cgroup v2: their tests are those of tests/vm/groups.py, in a guest.
IN_GUEST = ["own-cgroup", "group-memory-limit", "group-thread-limit", "group-weight"]

# Layers that hold what another one holds already: left out with it, or nobody could tell. The other one has a line of its own.
COVERED_BY = {
    # A child inherits it from its zygote.
    "dumpable": "zygote-dumpable",
    # Where it holds alone, paths lead from the working directory on, and nowhere else.
    "landlock": "working-directory",
}

# What a test build can leave out as well, and why that is no mutant.
NO_LAYERS = {
    "bind-packages": "puts packages in, keeps nothing out",
    "interpreter": "starts Python",
    "channel": "makes what a job comes by",
    "clone": "makes the child",
    "clone-parent": "what a kernel does that ignores this flag",
    "verification": "left out with every layer; the last column is what it says",
    "kernel-landlock": "a kernel without it",
    "kernel-chroot": "a kernel that refuses it",
}


def jail_root():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target"))
    root = pathlib.Path(os.environ.get("MAYFLY_ROOT", target / "jail"))
    if not (root / "mayfly.json").is_file():
        sys.exit(f"there is no jail root at {root}: run `make jail`")
    return str(root)


def attacks():
    """All attacks by name, with their preludes in front."""
    read = lambda path: tomllib.loads(path.read_text())
    home = HOME / "tests/attacks"
    preludes = read(home / "preludes.toml")
    found = {}
    for path in sorted(home.glob("*.toml")):
        for attack in [] if path.stem == "preludes" else read(path).get("attack", []):
            before = "".join(preludes[name] for name in attack.get("prelude", ()))
            found[attack["name"]] = {**attack, "script": before + attack["script"]}
    return found


SECRET = "MAYFLY-CANARY-environment" + f"{os.getpid():08x}"


class Server:
    """A server of the test build on a port of its own; `without` is what it leaves out."""

    def __init__(self, program, level, without):
        environment = {name: value for name, value in os.environ.items() if name != "PORT" and not name.startswith("MAYFLY_")}
        environment |= {"MAYFLY_ROOT": jail_root(), "MAYFLY_LISTEN": "127.0.0.1:0", "MAYFLY_PRELOAD": "", "MAYFLY_READY": "2",
                        "MAYFLY_ISOLATION": level, "MAYFLY_WITHOUT": without, "MAYFLY_CANARY_SECRET": SECRET}
        self.log = os.memfd_create("log")
        self.process = subprocess.Popen([program, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        self.port = None

    def __enter__(self):
        deadline = time.monotonic() + WALL
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", self.said())
            if found and not self.port:
                self.port = int(found[1])
            if self.port and self.ask("GET", "/readyz")[0] == 200:
                return self
            time.sleep(0.02)
        self.port = None
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.log)

    def said(self):
        return os.pread(self.log, 1 << 20, 0).decode(errors="replace")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WALL)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body and json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, f"no answer: {error}"
        finally:
            connection.close()


def fits(expected, status, text):
    try:
        body = json.loads(text)
    except ValueError:
        return False
    if status != 200:
        return body.get("code") == expected
    if expected == "result":
        return True
    wanted = expected.removeprefix("result:")
    if wanted == expected:
        return False
    try:
        return body.get("result") in (wanted, json.loads(wanted))
    except ValueError:
        return body.get("result") == wanted


def holds(server, attack, level):
    """Whether the attack comes to nothing, as tests/it/attacks.rs judges it."""
    results = []
    for argument in attack.get("each") or [None] * attack.get("differ", 1):
        request = {**attack.get("request", {}), "script": attack["script"]}
        stand_ins = {"$PORT": str(server.port), "$HOSTNAME": socket.gethostname()}
        request["args"] = [stand_ins.get(one, one) if isinstance(one, str) else one for one in request.get("args", [])]
        if argument is not None:
            request["args"] = [argument]
        status, text = server.ask("POST", "/execute", request)
        if status not in (200, 422) or "ESCAPED" in text or SECRET in text:
            return False
        expected = attack.get("expect_at", {}).get(level, attack["expect"])
        if not any(fits(one, status, text) for one in expected):
            return False
        results.append(json.loads(text).get("result"))
    if "differ" in attack:
        pairs = [(one, other) for place, one in enumerate(results) for other in results[:place]]
        members = lambda one, other: zip(one, other) if isinstance(one, list) and isinstance(other, list) else ()
        return not any(one == other or any(left == right for left, right in members(one, other)) for one, other in pairs)
    return True


def layer_tests(looks, filters, without):
    """Which tests of tests/layers.rs fail, of those named or of all; and the tests that ran."""
    red, ran = [], []
    for one in filters.split() or [""]:
        environment = {**os.environ, "MAYFLY_ROOT": jail_root()}
        if without:
            environment["LAYERS_WITHOUT"] = without
        # Tests of different circumstances go side by side; each has a server of its own.
        command = [looks] + ([one] if one else []) + (["--exact"] if one and "::" not in one else [])
        try:
            said = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, timeout=100).stdout
        except subprocess.TimeoutExpired:
            sys.exit(f"tests/layers.rs, {one}, without {without or 'nothing'}: no end within 100 s")
        for name, verdict in re.findall(r"^test (\S+) +\.\.\. (ok|FAILED)$", said, re.M):
            ran.append(name)
            if verdict == "FAILED" and name not in red:
                red.append(name)
    assert ran, f"no test of tests/layers.rs is called {filters}"
    return red, ran


def parts(named):
    full, _, seccomp = named.partition("|")
    return [("full", full.split()), ("seccomp", seccomp.split())]


def attack_tests(program, corpus, named, without):
    red = []
    for level, names in parts(named):
        if names:
            with Server(program, level, without) as server:
                for name in names:
                    if server.port is None or not holds(server, corpus[name], level):
                        red.append(f"attack {name}" + (" (seccomp)" if level == "seccomp" else ""))
    return red


def checked_at_start(program, layer):
    """What a server says that lacks the layer, and does not leave out the check at start."""
    level = "seccomp" if set(layer.split(",")) & {"chroot", "landlock", "paths-below-root"} else "full"
    with Server(program, level, layer) as server:
        if server.port is not None:
            return "serves"
        said = server.said()
    found = re.search(r"did not hold: (.*?)(?:; run `mayfly doctor`|$)", said, re.M)
    return f"refuses: not so: {found[1]}" if found else "refuses"


def starts(program, layer):
    level = "seccomp" if set(layer.split(",")) & {"chroot", "landlock", "paths-below-root"} else "full"
    with Server(program, level, f"{layer},verification") as server:
        return server.port is not None


def guest_tests(program, without):
    """For each of these layers, which checks in the guest fail, and what the check at start says."""
    command = [HOME / "tests/vm/run.py", "--program", program, "--jail", jail_root(), "--without", ",".join(without)]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout
    if "passed  with every layer" not in said:
        sys.exit(f"red in the guest with every layer in place:\n{said}")
    found = {layer: (red.split("; "), note) for layer, red, note in re.findall(r"^passed  without (\S+): (.+) · (.*)$", said, re.M)}
    return {layer: found.get(layer, ([], "?")) for layer in without}


def main():
    if os.geteuid() != 0:
        sys.exit("level full as root is part of it: run as root")
    chosen = sys.argv[1:] or [*LAYERS, *IN_GUEST]
    began = time.monotonic()
    built = layers.build("--features", "fault-injection", "--test", "layers")
    program, looks = built["mayfly"], built["layers"]
    known = set(layers.names(program)["MAYFLY_WITHOUT"])
    listed = {*LAYERS, *IN_GUEST, *NO_LAYERS}
    missing = known - listed
    if missing:
        sys.exit(f"no entry for {sorted(missing)}: which test misses it?")
    unknown = listed - known
    if unknown:
        sys.exit(f"the program can't leave out {sorted(unknown)}")
    corpus = attacks()

    used = {level: sorted({name for _, named in LAYERS.values() for at, names in parts(named) if at == level for name in names})
            for level in ("full", "seccomp")}
    red, ran = layer_tests(looks, "" if len(sys.argv) == 1 else "full::seccomp-filter", "")
    red += attack_tests(program, corpus, " ".join(used["full"]) + "|" + " ".join(used["seccomp"]), "")
    if red:
        sys.exit(f"red with every layer in place, so they would prove nothing: {red}")
    print(f"with every layer: {len(ran)} tests and {sum(map(len, used.values()))} attacks hold", flush=True)

    rows, unmissed = [], []

    def take_down(layer, together, red, note):
        print(f"{layer}: {', '.join(red) or 'NOTHING TURNS RED'} · {note}", flush=True)
        if not red:
            unmissed.append(layer)
        rows.append(f"| `{together.replace(',', '` with `')}` | {', '.join(red) or '**NOTHING TURNS RED**'} | {note} |")

    for layer in [layer for layer in chosen if layer in LAYERS]:
        filters, named = LAYERS[layer]
        together = ",".join(filter(None, (layer, COVERED_BY.get(layer))))
        without = f"{together},verification"
        serves = starts(program, together)
        red, _ = layer_tests(looks, filters, without)
        # Without a server there is nothing to attack.
        red += attack_tests(program, corpus, named, without) if serves else []
        note = checked_at_start(program, together) if serves else "no server comes up at all"
        take_down(layer, together, red, note)
    in_guest = [layer for layer in chosen if layer in IN_GUEST]
    for layer, (red, note) in guest_tests(program, in_guest).items() if in_guest else ():
        take_down(layer, layer, [f"guest: {one}" for one in red], note)
    if len(sys.argv) > 1:
        return 1 if unmissed else 0

    minutes = (time.monotonic() - began) / 60
    TABLE.write_text(f"""# What notices a missing layer

{measured.origin("python3 tools/mutants.py")}

Made on {os.uname().machine}, Linux {'.'.join(os.uname().release.split('.')[:2])}, in {minutes:.0f} minutes. Each line is one server of the test build
that lacks one layer (`MAYFLY_WITHOUT`), the tests of `tests/layers.rs` that failed against it (named by the circumstances: `full`
as root, `shared` at level full without root, `seccomp` with a chroot, `landlock` without root) and the attacks of `tests/attacks`
that came to something else than they may. Lines with `guest` are checks of `tests/vm/groups.py` that failed in a guest of
`tests/vm/run.py`, whose kernel has cgroup v2. With every layer in place all of them are green. The command fails if nothing turns red.
The last column is the check at start (`src/jail/verify.rs`) on its own: whether a server that lacks the layer serves at all.
Where no server comes up, later steps need this one: leaving it out ends in a refusal, not in a weaker jail.

| left out | turns red | the check at start |
|---|---|---|
{chr(10).join(rows)}

{len(rows)} layers, {len(unmissed)} of them unmissed{': **' + ', '.join(unmissed) + '**' if unmissed else ''}. A test build can leave out more, which are no layers:
{'; '.join(f'`{name}` ({why})' for name, why in NO_LAYERS.items())}.
The rules of the filter have [a table of their own](mutants-filter.md).
""")
    print(f"{len(rows)} layers, {len(unmissed)} unmissed: {TABLE.relative_to(HOME)}, {minutes:.1f} min")
    return 1 if unmissed else 0


if __name__ == "__main__":
    sys.exit(main())
