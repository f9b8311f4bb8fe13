"""The matrix of docs/measured/matrix.md: attack group by place, the layer that stops it and what the client sees.

    python3 tools/matrix.py            writes it, from a test run in every place (see below)
    python3 tools/matrix.py --check    exit 1 if the page does not say what the attacks of tests/attacks say, or what a run saw

A run leaves a record of each place in which all attacks were played and came to what they may: target/tmp/attacks/PLACE.json.
`make matrix` makes all of them and then the table; it needs root, and an nsjail on PATH. The check looks at the records that are
there, so it holds on a machine that grants fewer places.

Where an attack may end in several ways, by timing or by the interpreter's version, the table has all that are allowed: a run that
saw one of them changes nothing.
"""

import collections
import json
import os
import pathlib
import sys
import tomllib

import layers

HOME = pathlib.Path(__file__).resolve().parent.parent
PAGE = HOME / "docs" / "measured" / "matrix.md"
BEGIN, END = "<!-- matrix:begin -->\n", "<!-- matrix:end -->"

# Place: its level, and how the table calls it. As in tests/it/levels.rs.
PLACES = {
    "full": ("full", "`full`"),
    "seccomp": ("seccomp", "`seccomp`, chroot"),
    "landlock": ("seccomp", "`seccomp`, Landlock alone"),
    "no-files": ("seccomp", "`seccomp`, neither"),
    "nsjail": ("nsjail", "`nsjail`"),
}
GROUPS = {
    "files": "files and /proc",
    "network": "network, environment, secrets",
    "processes": "processes, privileges, the kernel",
    "runtime": "the runtime, native code",
    "forging": "forged and hostile results",
    "random": "random and carried-over state",
    "resources": "exhaustion",
    "setup": "set-up and layers",
    "http": "the HTTP front",
}

# A layer by its name, which in the corpus is the one that stops the attack at level full; what the table calls it; and what stands
# in its place where a level has none.
PATHS = {"seccomp": "chroot", "landlock": "paths below the root, Landlock", "no-files": "filter: no path is followed"}
NO_WRITING = dict.fromkeys(["seccomp", "landlock", "no-files"], "filter: nothing is written")
NO_NAMESPACE = dict.fromkeys(["seccomp", "landlock", "no-files"], "filter")
LAYERS = {
    "seccomp-filter": ("filter", {}),
    "mount-namespace": ("mount namespace and root", PATHS),
    "pid-namespace": ("pid namespace", NO_NAMESPACE),
    "ipc-namespace": ("ipc namespace", NO_NAMESPACE),
    "network-namespace": ("network namespace", NO_NAMESPACE),
    "uts-namespace": ("uts namespace", NO_NAMESPACE),
    "user-namespace": ("user namespace", NO_NAMESPACE),
    "tmp-size-cap": ("size of /tmp", NO_WRITING),
    "tmp-inode-cap": ("number of files in /tmp", NO_WRITING),
    "tmp-noexec": ("noexec /tmp", NO_WRITING),
    "file-size-limit": ("limit: file size", NO_WRITING),
    "process-limit": ("limit: threads", {}),
    "own-ids": ("own ids", {"landlock": "filter", "no-files": "filter"}),
    "resource-limits": ("limits", {}),
    "address-space-limit": ("limit: memory", {}),
    "open-files-limit": ("limit: descriptors", {}),
    "stack-limit": ("limit: stack", {}),
    "locked-memory-limit": ("limit: locked memory", {}),
    "core-limit": ("limit: core dumps", {}),
    "cpu-limit": ("limit: processor time", {}),
    "no-capabilities": ("no capabilities", {}),
    "no-new-privileges": ("no_new_privs", {}),
    "dumpable": ("not dumpable", {}),
    "landlock": ("Landlock", {}),
    "descriptors": ("closed descriptors", {}),
    "clean-environment": ("clean environment", {}),
    "fresh-child": ("one child per job", {}),
    "reseed": ("reseeding", {}),
    "watchdog": ("deadline, processor watch", {}),
    "decoder": ("reply decoder, verdict", {}),
    "reply-cap": ("frame cap", {}),
    "result-cap": ("result cap", {}),
    "depth-cap": ("depth cap", {}),
    "digit-cap": ("digit cap", {}),
    "output-cap": ("output cap", {}),
    "exact-types": ("exact types", {}),
    "http-parser": ("gate and parser", {}),
    "http-timeouts": ("deadlines", {}),
    "http-limits": ("caps", {}),
    "http-routes": ("routes", {}),
    "http-hosts": ("hosts and origins", {}),
    "request-check": ("request check", {}),
    "admission": ("admission", {}),
    "cancellation": ("cancellation", {}),
    "kernel": ("the kernel itself", {}),
    "documented": ("bounded, documented", {}),
}


def corpus():
    """(attacks, exchanges), each as (group, attack)."""
    attacks, exchanges = [], []
    for group in GROUPS:
        content = tomllib.loads((HOME / "tests/attacks" / f"{group}.toml").read_text())
        attacks += [(group, attack) for attack in content.get("attack", [])]
        exchanges += [(group, exchange) for exchange in content.get("exchange", [])]
    files = {path.stem for path in (HOME / "tests/attacks").glob("*.toml")} - {"preludes"}
    if files != set(GROUPS):
        sys.exit(f"tests/attacks has groups that this table does not: {sorted(files ^ set(GROUPS))}")
    unknown = LAYERS.keys() - layers.names()["layers"] - layers.NO_LAYER
    if unknown:
        sys.exit(f"the program knows no layers of these names: {sorted(unknown)}")
    missing = {attack["stops"] for _, attack in attacks + exchanges} - LAYERS.keys()
    if missing:
        sys.exit(f"this table has no words for {sorted(missing)}")
    return attacks, exchanges


def is_played(attack, place):
    levels = attack.get("levels")
    return levels is None or place in levels or PLACES[place][0] in levels


def allowed(attack, place):
    """The outcomes that are allowed there, as the corpus writes them."""
    at = attack.get("expect_at", {})
    return at.get(place, at.get(PLACES[place][0], attack["expect"]))


def told(outcome):
    """An outcome in the table's words."""
    if outcome != "result" and not outcome.startswith("result:"):
        return f"`{outcome}`"
    what = outcome.removeprefix("result:")
    # An errno's name, or denied: the script went on and said so.
    return "refused" if what == "denied" or what.isupper() else "answered"


def outcomes(attack, place):
    words = list(dict.fromkeys(told(one) for one in allowed(attack, place)))
    return " or ".join(sorted(words))


def status(exchange):
    """What the client of an exchange sees in the end: the statuses that its judging steps allow."""
    found = set()
    for step in exchange["steps"]:
        found.update(str(one) for one in step.get("expect", []))
        if "expect_closed" in step:
            found.add("closed")
    return found or {"its own end"}


def cell(played, place):
    """Attacks of one group and one layer, all in one place."""
    if not played:
        return "–"
    (stops,) = {attack["stops"] for attack in played}
    name, elsewhere = LAYERS[stops]
    counts = collections.Counter(outcomes(attack, place) for attack in played)
    seen = ", ".join(f"{count} {words}" for words, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
    return f"{elsewhere.get(place, name)}: {seen}"


def rows(group, attacks):
    """One for each layer, the one that stops most first."""
    mine = [attack for of, attack in attacks if of == group]
    for stops, count in sorted(collections.Counter(attack["stops"] for attack in mine).items(), key=lambda one: (-one[1], one[0])):
        same = [attack for attack in mine if attack["stops"] == stops]
        cells = {place: cell([attack for attack in same if is_played(attack, place)], place) for place in PLACES}
        shown = [cells["full"]] + ["same" if cells[place] == cells["full"] != "–" else cells[place] for place in list(PLACES)[1:]]
        yield f"| {GROUPS[group]} | {count} | {' | '.join(shown)} |"


def render(attacks, exchanges):
    totals = [sum(is_played(attack, place) for _, attack in attacks) for place in PLACES]
    lines = [
        "Played from inside, each as a script posted to `/execute`:",
        "",
        f"| group | {len(attacks)} attacks | {' | '.join(name for _, name in PLACES.values())} |",
        "|---|---|" + "---|" * len(PLACES),
        *(row for group in GROUPS for row in rows(group, attacks)),
        f"| all | {len(attacks)} | {' | '.join(f'{total} played, none succeeded' for total in totals)} |",
        "",
        "Where no path is followed, an attack may also end in an `exception` before it begins: what it takes can't be opened, or was not loaded.",
        "",
        "Played from outside, bytes on a connection, at one level, since the front is the same at all:",
        "",
        f"| layer | {len(exchanges)} exchanges | what the client may see in their course |",
        "|---|---|---|",
    ]
    counts = collections.Counter(exchange["stops"] for _, exchange in exchanges)
    for stops, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
        seen = set().union(*(status(exchange) for _, exchange in exchanges if exchange["stops"] == stops))
        lines.append(f"| {LAYERS[stops][0]} | {count} | {', '.join(sorted(seen))} |")
    return "\n".join(lines) + "\n"


def records():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target"))
    directory = target / "tmp" / "attacks"
    return {path.stem: json.loads(path.read_text())["seen"] for path in sorted(directory.glob("*.json"))}


def disagreements(attacks, exchanges, found):
    """Where a run and the corpus differ: the run is of another corpus, or saw what is not allowed."""
    for place, seen in found.items():
        if place == "front":
            if set(seen) != {exchange["name"] for _, exchange in exchanges}:
                yield "front: the run played other exchanges"
            continue
        played = {attack["name"]: attack for _, attack in attacks if is_played(attack, place)}
        if set(seen) != set(played):
            yield f"{place}: the run played other attacks: {sorted(set(seen) ^ set(played))}"
            continue
        for name, attack in played.items():
            may = set(allowed(attack, place)) | ({"not-begun"} if place == "no-files" else set())
            if not set(seen[name]) <= may:
                yield f"{place}: {name}: came to {sorted(set(seen[name]) - may)}"


def main():
    attacks, exchanges = corpus()
    found = records()
    wrong = list(disagreements(attacks, exchanges, found))
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    now, after = rest.split(END)
    table = render(attacks, exchanges)
    if "--check" in sys.argv:
        if now != table:
            wrong.append("docs/measured/matrix.md: the matrix is of another corpus: run `make matrix`")
        print(*wrong, sep="\n", end="\n" if wrong else "")
        if not wrong:
            print(f"the matrix holds; compared with a run in: {', '.join(found) or 'none'}")
        return 1 if wrong else 0
    missing = [place for place in [*PLACES, "front"] if place not in found]
    if missing:
        sys.exit(f"no record of a whole run in {', '.join(missing)}: `make matrix` makes them all")
    if wrong:
        sys.exit("\n".join(wrong))
    PAGE.write_text(before + BEGIN + table + END + after)
    print(f"docs/measured/matrix.md: {len(attacks)} attacks in {len(PLACES)} places, {len(exchanges)} exchanges")
    return 0


if __name__ == "__main__":
    sys.exit(main())
