"""Checks the attack files for what a test run would only find late: names, fields, sizes, syntax.

    python3 tests/attacks/validate.py            one line per mistake, exit 1 if there is any
    python3 tests/attacks/validate.py --table    what is covered: attacks per group and per row of the list

No attack is run: scripts are compiled and forgotten.
"""

import collections
import pathlib
import re
import sys
import tomllib

HERE = pathlib.Path(__file__).parent
LARGEST_SCRIPT = 10_240
# Levels, and `landlock`: level seccomp where Landlock holds and chroot does not.
LEVELS = {"full", "seccomp", "landlock", "nsjail"}
CODES = {"syntax_error", "no_main", "exception", "exited", "timeout", "cpu_limit", "memory_limit", "output_limit",
         "result_too_large", "result_not_serializable", "blocked", "crashed"}
# From the program, which has the only list of them.
sys.path.insert(0, str(HERE.parent.parent / "tools"))
import layers

LAYERS = {*layers.names()["layers"], *layers.NO_LAYER}
FIELDS = {
    "attack": {"name", "row", "denies", "levels", "prelude", "first", "beside", "each", "differ", "request", "script",
               "expect", "expect_at", "stops", "seen_to_succeed_unjailed"},
    "exchange": {"name", "row", "denies", "levels", "connections", "rounds", "needs", "steps", "stops"},
}
NEEDED = {"attack": {"name", "denies", "script", "expect", "stops"}, "exchange": {"name", "denies", "steps", "stops"}}
REQUEST_FIELDS = {"args", "kwargs", "stdin", "limits", "include"}
VERBS = {"send", "send_hex", "post", "pause_ms", "expect", "expect_closed", "close", "reset", "half_close", "answers_meanwhile"}
MODIFIERS = {"send": {"repeat", "every_ms"}, "send_hex": {"repeat", "every_ms"}, "post": {"headers"},
             "expect": {"body", "has_header", "has_no_header", "within_ms"}}
ROWS = range(1, 121)


def check_expectation(expected):
    for one in expected:
        if not (one in CODES or one == "result" or one.startswith("result:")):
            yield f"unknown outcome {one!r}"
    if not expected:
        yield "expects nothing"


def check_attack(attack, preludes):
    unknown = set(attack.get("prelude", ())) - set(preludes)
    if unknown:
        yield f"unknown prelude {unknown}"
        return
    yield from check_expectation(attack["expect"])
    for level, expected in attack.get("expect_at", {}).items():
        yield from check_expectation(expected) if level in LEVELS | {"gvisor", "outer-profile"} else (f"unknown level {level}",)
    unknown = set(attack.get("request", {})) - REQUEST_FIELDS
    if unknown:
        yield f"unknown request fields {unknown}"
    before = "".join(preludes[name] for name in attack.get("prelude", ()))
    for part in ("script", "first", "beside"):
        if part not in attack:
            continue
        text = before + attack[part]
        if len(text.encode()) > LARGEST_SCRIPT:
            yield f"{part}: {len(text.encode())} bytes with its preludes, {LARGEST_SCRIPT} are allowed"
        try:
            compile(text.removeprefix("\ufeff"), part, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            if "syntax_error" not in attack["expect"]:
                yield f"{part} does not compile: {error}"


def check_exchange(exchange):
    for number, step in enumerate(exchange["steps"], 1):
        verbs = VERBS & set(step)
        if len(verbs) != 1:
            yield f"step {number}: one of {sorted(VERBS)} is due, found {sorted(step)}"
            continue
        (verb,) = verbs
        unknown = set(step) - verbs - MODIFIERS.get(verb, set())
        if unknown:
            yield f"step {number}: {unknown} does not go with {verb}"
        if verb == "send_hex" and not re.fullmatch(r"(?:[0-9a-f]{2}|\{stream\}| )*", step["send_hex"]):
            yield f"step {number}: no hexadecimal bytes"
        if verb == "expect" and not all(type(one) is int and 100 <= one <= 599 or one == "closed" for one in step["expect"]):
            yield f"step {number}: statuses or \"closed\" are due"
    if not any(VERBS & set(step) & {"expect", "expect_closed", "close", "reset"} for step in exchange["steps"]):
        yield "no step that ends or judges it"


def main():
    with open(HERE / "preludes.toml", "rb") as file:
        preludes = tomllib.load(file)
    mistakes, names, groups, rows = [], set(), collections.Counter(), collections.Counter()
    for path in sorted(HERE.glob("*.toml")):
        if path.stem == "preludes":
            continue
        with open(path, "rb") as file:
            content = tomllib.load(file)
        for kind in content.keys() - FIELDS.keys() - {"server"}:
            mistakes.append(f"{path.name}: unknown table {kind}")
        for kind in FIELDS.keys() & content.keys():
            for entry in content[kind]:
                name = entry.get("name", "?")
                found = [f"lacks {field}" for field in NEEDED[kind] - entry.keys()]
                found += [f"unknown field {field}" for field in entry.keys() - FIELDS[kind]]
                if not found:
                    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                        found.append("the name is not in kebab-case")
                    if name in names:
                        found.append("the name is taken")
                    if entry.get("row", 1) not in ROWS:
                        found.append(f"no row {entry['row']}")
                    if entry["stops"] not in LAYERS:
                        found.append(f"unknown layer {entry['stops']}")
                    if not set(entry.get("levels", LEVELS)) <= LEVELS:
                        found.append(f"unknown level in {entry['levels']}")
                    found += check_attack(entry, preludes) if kind == "attack" else check_exchange(entry)
                mistakes += [f"{path.name}: {name}: {mistake}" for mistake in found]
                names.add(name)
                groups[path.stem] += 1
                rows[entry.get("row", 0)] += 1
    if "--table" in sys.argv:
        print(*(f"{count:4} {group}" for group, count in sorted(groups.items())), sep="\n")
        print(f"{groups.total():4} in all, {rows[0]} of them beyond the list")
        print("per row:", *(f"{row}:{rows[row]}" for row in ROWS if rows[row]))
        print("not here:", *(row for row in ROWS if not rows[row]))
    print(*mistakes, sep="\n", end="\n" if mistakes else "")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
