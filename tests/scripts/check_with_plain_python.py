#!/usr/bin/env python3
"""Run every script of this directory with a plain CPython and compare with the expected answer.

The expected answers must be true of Python itself, not merely be what Mayfly said one day. So this
program knows nothing of Mayfly: it calls `main()` in an ordinary interpreter, turns the result into JSON by
its own reading of the value table, and compares. It has no jail; what a jail refuses (sockets, processes,
and files for writing where the script does not declare them) it refuses by patches and an audit hook,
which is enough for honest scripts and for nothing else.

    python3 check_with_plain_python.py PYTHON [--only TEXT] [--skip-slow]

PYTHON is the interpreter under test, for example that of a virtual environment with numpy and pandas.
Every script runs twice, as module `main` and as module `__main__`, because no answer may depend on that;
one that says `writes_files` runs a third time with writing refused. Exit 1 when any answer differs.
What is not run is listed by name.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CASE_KEYS = {
    "about", "request", "status", "body", "match", "packages", "writes_files", "without_files", "jail_only",
}
REQUEST_KEYS = {"args", "kwargs", "stdin", "limits", "include"}
CODES = {
    "syntax_error", "no_main", "exception", "exited", "timeout", "cpu_limit", "memory_limit", "output_limit",
    "result_too_large", "result_not_serializable", "blocked", "crashed",
}
DEFAULTS = {"wall_ms": 5000, "cpu_ms": 5000, "memory_mb": 256, "output_bytes": 65536}
SCRIPT_BYTES = 10_240
RESULT_BYTES = 1 << 20


# --- the parent: cases, processes, comparison ---------------------------------------------------------------


def differences(expected, actual, path, subset):
    """Yield one line for each place where `actual` is not what the case expects."""
    if subset and isinstance(expected, dict) and set(expected) == {"contains"}:
        wanted = expected["contains"]
        for text in [wanted] if isinstance(wanted, str) else wanted:
            if not isinstance(actual, str) or text not in actual:
                yield f"{path}: {text!r} is not in {actual!r}"
        return
    if type(expected) is not type(actual):
        yield f"{path}: expected {expected!r}, got {actual!r}"
    elif isinstance(expected, dict):
        for key in expected.keys() | actual.keys():
            if key not in actual:
                yield f"{path}.{key}: missing"
            elif key in expected:
                yield from differences(expected[key], actual[key], f"{path}.{key}", subset)
            elif not subset:
                yield f"{path}.{key}: not expected, got {actual[key]!r}"
    elif isinstance(expected, list):
        if len(expected) != len(actual):
            yield f"{path}: expected {len(expected)} items, got {len(actual)}: {actual!r}"
        for index, (left, right) in enumerate(zip(expected, actual)):
            yield from differences(left, right, f"{path}[{index}]", subset)
    elif expected != actual:
        yield f"{path}: expected {expected!r}, got {actual!r}"


def malformed(case, script):
    """Yield what is wrong with the case itself, whatever Python answers."""
    if not case.get("about"):
        yield "no 'about'"
    yield from (f"unknown key {key!r}" for key in case.keys() - CASE_KEYS)
    yield from (f"unknown request key {key!r}" for key in case.get("request", {}).keys() - REQUEST_KEYS)
    if case.get("match", "exact") not in ("exact", "subset"):
        yield "'match' is neither exact nor subset"
    if ("writes_files" in case) != ("without_files" in case):
        yield "'writes_files' and 'without_files' belong together"
    if len(script.encode()) > SCRIPT_BYTES:
        yield f"script is longer than {SCRIPT_BYTES} bytes"
    for answer in (case, case.get("without_files", case)):
        if answer.get("status") == 200 and "result" not in answer.get("body", {}):
            yield "a 200 without 'result'"
        elif answer.get("status") == 422 and answer.get("body", {}).get("code") not in CODES:
            yield "a 422 without one of the known codes"
        elif answer.get("status") not in (200, 422):
            yield "status is neither 200 nor 422"


def execute(python, script, request, module, refuse_writing, record_writing):
    """Run one script in a new process in a new, empty directory; return (status, body, paths written)."""
    limits = DEFAULTS | request.get("limits", {})
    with tempfile.TemporaryDirectory(prefix="mayfly-check-") as scratch:
        home = pathlib.Path(scratch)
        (home / "cwd").mkdir()
        job = {
            "script": script, "request": request, "limits": limits, "module": module,
            "refuse_writing": refuse_writing, "record_writing": record_writing, "reply": str(home / "reply.json"),
        }
        (home / "job.json").write_text(json.dumps(job))
        child = subprocess.run(
            [python, "-I", "-B", __file__, "--child", str(home / "job.json")],
            cwd=home / "cwd", stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
            env={"PATH": "", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"},
        )
        reply_path = home / "reply.json"
        reply = json.loads(reply_path.read_text()) if reply_path.exists() else {}
    status, body = reply.get("status", 422), reply.get("body", {})
    if not body:
        # ITIMER_REAL and ITIMER_PROF end the child by SIGALRM (14) and SIGPROF (27).
        code = {-14: "timeout", -27: "cpu_limit"}.get(child.returncode, "crashed")
        body = {"error": f"ended with {child.returncode}: {child.stderr[-2000:].decode()}", "code": code}
    cap, truncated = limits["output_bytes"], {}
    for stream in ("stdout", "stderr"):
        written = getattr(child, stream)
        if stream in request.get("include", []):
            body[stream] = written[:cap].decode("utf-8", "replace")
            if len(written) > cap:
                truncated[stream] = {"kept": cap, "total": len(written)}
    if truncated:
        body["truncated"] = truncated
    return status, body, reply.get("written", [])


def check(python, case, script):
    """Yield every difference between what the case expects and what plain Python does."""
    request = case.get("request", {})
    for module in ("main", "__main__"):
        status, body, written = execute(python, script, request, module, False, "writes_files" not in case)
        match = case.get("match", "exact" if case["status"] == 200 else "subset")
        if status != case["status"]:
            yield f"as {module}: expected {case['status']}, got {status} {body}"
        yield from (f"as {module}: {line}" for line in differences(case["body"], body, "body", match == "subset"))
        yield from (f"as {module}: writes {path} and does not say so" for path in written)
    if case.get("writes_files"):
        status, body, _ = execute(python, script, request, "main", True, False)
        expected = case["without_files"]
        if status != expected["status"]:
            yield f"without files: expected {expected['status']}, got {status} {body}"
        subset = expected["status"] == 422
        yield from (f"without files: {line}" for line in differences(expected["body"], body, "body", subset))


def slow(case):
    return case["body"].get("code") in ("timeout", "cpu_limit", "memory_limit")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="the interpreter to run the scripts with")
    parser.add_argument("--only", default="", help="run only the scripts whose topic/name contains this")
    parser.add_argument("--skip-slow", action="store_true", help="leave out scripts that end at a limit, and list them")
    options = parser.parse_args()

    scripts = {path.with_suffix("") for path in HERE.glob("*/*.py")}
    cases = {path.with_suffix("") for path in HERE.glob("*/*.json")}
    failed = [f"{lonely.relative_to(HERE)}: script and answer do not pair up" for lonely in scripts ^ cases]
    passed, skipped = 0, []
    for stem in sorted(scripts & cases):
        name = str(stem.relative_to(HERE))
        if options.only not in name:
            continue
        case = json.loads(stem.with_suffix(".json").read_text())
        script = stem.with_suffix(".py").read_text()
        lines = list(malformed(case, script))
        if not lines and case.get("jail_only"):
            skipped.append(f"{name}: {case['jail_only']}")
            continue
        if not lines and options.skip_slow and slow(case):
            skipped.append(f"{name}: slow")
            continue
        lines = lines or list(check(options.python, case, script))
        failed.extend(f"{name}: {line}" for line in lines)
        passed += not lines
    for line in skipped:
        print("not run:", line)
    for line in failed:
        print("DIFFERS:", line)
    names_failed = len({line.split(":")[0] for line in failed})
    print(f"{passed} passed, {names_failed} failed, {len(skipped)} skipped")
    return 1 if failed or not passed else 0


# --- the child: one script, one answer ----------------------------------------------------------------------


class NotSerializable(Exception):
    pass


class TooLarge(Exception):
    pass


def told(notes):
    """The notes of an answer: of more than eight, the rest by their number."""
    if len(notes) <= 8:
        return notes
    return [*notes[:8], f"… and {len(notes) - 8} more like these"]


def to_json(value, path="result", depth=0, notes=None):
    """The value table, written from the contract and without speed in mind. A list in `notes` gets what was changed."""
    if value is None or type(value) in (bool, str) or type(value) is int and abs(value) < 10**4300:
        return value
    import array
    import base64
    import collections
    import dataclasses
    import datetime
    import decimal
    import enum
    import fractions
    import ipaddress
    import math
    import re
    import types
    import uuid
    import zoneinfo

    def refuse(reason):
        raise NotSerializable(f"{path} is {reason}")

    def go(item, place, deeper=1):
        return to_json(item, path + place, depth + deeper, notes)

    def key_text(given):
        key = given
        if isinstance(key, float) and not isinstance(key, enum.Enum):
            key = float(key)
        elif not isinstance(key, bytes):
            try:
                key = to_json(key)
            except NotSerializable:
                pass
        if not isinstance(key, (str, int, float, type(None))):
            rewrite = {bytes: "key.decode()", tuple: "'-'.join(map(str, key))"}.get(type(given), "str(key)")
            refuse(f"a dict with a key of type {type(given).__qualname__}; make it text, as {rewrite}")
        return next(iter(json.loads(json.dumps({key: 0}))))

    def items(pairs):
        answer = {}
        for key, item in pairs:
            text = key_text(key)
            if text in answer:
                refuse("a dict in which two keys become the same text")
            answer[text] = go(item, f".{text}" if text.isidentifier() else f"[{json.dumps(text)}]")
        return answer

    def sequence(values):
        answer = []
        for item in values:
            is_plain = type(item) is int and abs(item) < 2**63
            answer.append(item if is_plain else go(item, f"[{len(answer)}]"))
            if len(answer) * 2 > RESULT_BYTES:
                raise TooLarge
        return answer

    if depth > 128:
        refuse("circular, or nested deeper than 128")
    kind = type(value)
    if kind is int:
        refuse("integer of more than 4300 digits")
    if kind is float:
        if math.isinf(value) and notes is not None:
            notes.append(f"{path}: {value} written as null")
        return value if math.isfinite(value) else None
    if isinstance(value, enum.Enum):
        return go(value.value, "", 0)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return items(zip(value._fields, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return items((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    if hasattr(kind, "__attrs_attrs__"):
        return items((field.name, getattr(value, field.name)) for field in kind.__attrs_attrs__)
    if type(getattr(kind, "__fields__", None)) is dict:
        return go(value.dict(), "", 0)
    if kind.__name__ == "Row" and kind.__module__ == "sqlite3":
        if len({*value.keys()}) < len(value):
            refuse("a row with two columns of one name; name them apart, as SELECT a AS first, b AS second")
        return items(zip(value.keys(), value))
    if kind is complex:
        return sequence([value.real, value.imag])
    if kind is types.SimpleNamespace:
        return items(vars(value).items())
    texts = (
        decimal.Decimal, uuid.UUID, fractions.Fraction, zoneinfo.ZoneInfo, datetime.timezone, ipaddress.IPv4Address,
        ipaddress.IPv6Network,
    )  # fmt: skip
    if kind in texts or isinstance(value, pathlib.PurePath):
        return str(value)
    if kind is re.Pattern:
        return value.pattern
    if kind is datetime.timedelta:
        return value.total_seconds()
    if kind in (datetime.datetime, datetime.date, datetime.time):
        return value.isoformat()
    if "numpy" in sys.modules:
        import numpy

        if value is numpy.ma.masked:
            return None
        if isinstance(value, (numpy.bool_, numpy.integer, numpy.floating, numpy.complexfloating, numpy.str_)):
            plain = value.item()
            if isinstance(value, numpy.longdouble):
                plain = float(value)
                if plain != value and notes is not None:
                    notes.append(f"{path}: a {value.dtype.name} rounded to a float")
            return go(plain, "", 0)
        if isinstance(value, numpy.datetime64):
            return str(value)
        if isinstance(value, numpy.dtype):
            return str(value)
        if isinstance(value, numpy.ma.MaskedArray):
            return sequence(value[position] for position in range(len(value)))
        if isinstance(value, numpy.ndarray):
            return go(value.tolist(), "", 0)
    if "pandas" in sys.modules:
        import pandas

        def counts_rows(index):
            is_of_integers = pandas.api.types.is_integer_dtype(index.dtype)
            return is_of_integers and index.name is None and not isinstance(index, pandas.MultiIndex)

        if value is pandas.NaT or value is pandas.NA:
            return None
        if kind is pandas.Timestamp:
            return value.isoformat()
        if kind is pandas.Timedelta:
            return value.total_seconds()
        if kind in (pandas.Period, pandas.Interval):
            return str(value)
        if kind is pandas.Series:
            if counts_rows(value.index):
                return sequence(value.tolist())
            if value.index.is_unique and not isinstance(value.index, pandas.MultiIndex):
                try:
                    return items(zip(value.index, value.tolist()))
                except NotSerializable:
                    pass
            return go(value.rename("value" if value.name is None else value.name).reset_index(), "", 0)
        if kind is pandas.DataFrame:
            for what, names in ("columns", [*map(str, value.columns)]), ("index levels", value.index.names):
                for name in names:
                    if name is not None and names.count(name) > 1:
                        refuse(f"a DataFrame with two {what} of one name, {name!r}; rename one")
            if not counts_rows(value.index):
                names = value.index.names
                try:
                    value = value.reset_index(names=["index"] if names == [None] else None)
                except ValueError:
                    name = names[0] or "index"
                    refuse(
                        f"a DataFrame whose index and a column are both named {name!r}; rename the index, as "
                        "df.rename_axis(...), or leave it out by df.reset_index(drop=True)"
                    )
            return sequence(value.to_dict("records"))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    for base in (str, int, float):
        if isinstance(value, base):
            return go({str: str.__str__, int: int.__int__, float: float.__float__}[base](value), "", 0)
    if isinstance(value, dict):
        return items(dict.items(value))
    for base in (list, tuple, set, frozenset):
        if isinstance(value, base):
            return sequence(base.__iter__(value))
    if isinstance(value, collections.UserString):
        return value.data
    if hasattr(kind, "model_dump"):
        return go(value.model_dump(), "", 0)
    if isinstance(value, collections.abc.Mapping):
        return items(value.items())
    if hasattr(value, "fileno"):
        return refuse("an open file; return what file.read() gives")
    iterables = (collections.abc.Iterator, collections.abc.Sequence, collections.abc.Set, array.array)
    if isinstance(value, (*iterables, type({}.values()))):
        return sequence(value)
    return refuse(f"a value of type {kind.__name__}")


def failure(error, code):
    """The body of a 422 for an exception of the script's."""
    import traceback

    described = traceback.TracebackException.from_exception(error)
    chain = [described]
    for link in chain:  # grows while it is walked: causes, contexts, members of groups
        link.stack[:] = [frame for frame in link.stack if frame.filename != __file__]
        linked = [link.__cause__, link.__context__, *(getattr(link, "exceptions", None) or [])]
        chain.extend(other for other in linked if other is not None)
    own = [frame.lineno for frame in described.stack if frame.filename == "main.py"]
    name = type(error).__name__
    return {
        "error": f"{name}: {error}" if str(error) else name,
        "code": code,
        "exception": {
            "type": name,
            "message": str(error),
            "line": error.lineno if code == "syntax_error" else (own[-1] if own else None),
            "traceback": "".join(described.format()),
        },
    }


def refuse_what_a_jail_refuses(job, written):
    """No sockets, no processes, and no file opened for writing unless the case declares it."""
    import _posixsubprocess

    def refused(*_args, **_kwargs):
        raise PermissionError(1, "Operation not permitted")

    os.fork = _posixsubprocess.fork_exec = refused
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def hook(event, args):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"):
            refused()
        writes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod")
        if event == "open":
            writes = isinstance(args[0], (str, bytes)) and args[2] & writing
        if writes and args[0] != job["reply"]:
            if job["refuse_writing"]:
                raise PermissionError(13, "Permission denied", args[0])
            if job["record_writing"]:
                written.append(str(args[0]))

    sys.addaudithook(hook)


def run_one(job):
    import asyncio
    import inspect
    import io
    import linecache
    import resource
    import signal
    import types

    script, request, limits = job["script"], job["request"], job["limits"]
    # Imports are made ready outside the limits, as a warm interpreter has them.
    for package in ("numpy", "pandas"):
        if package in script:
            try:
                __import__(package)
            except ImportError:
                pass
    written = []
    refuse_what_a_jail_refuses(job, written)
    sys.stdin = io.StringIO(request.get("stdin", ""))
    linecache.cache["main.py"] = (len(script), None, script.splitlines(True), "main.py")
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    if "memory_mb" in request.get("limits", {}):
        resource.setrlimit(resource.RLIMIT_AS, (size + (limits["memory_mb"] << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module = types.ModuleType(job["module"])
    sys.modules[job["module"]] = module
    signal.setitimer(signal.ITIMER_REAL, limits["wall_ms"] / 1000)
    signal.setitimer(signal.ITIMER_PROF, limits["cpu_ms"] / 1000)
    status, body = 422, None
    try:
        try:
            code = compile(script, "main.py", "exec")
        except SyntaxError as error:
            body = failure(error, "syntax_error")
        else:
            exec(code, module.__dict__)
            if not callable(module.__dict__.get("main")):
                body = {"error": "the script defines no function main", "code": "no_main"}
            else:
                result = module.main(*request.get("args", []), **request.get("kwargs", {}))
                if inspect.iscoroutine(result):
                    result = asyncio.run(result)
                notes = []
                text = json.dumps(to_json(result, notes=notes), allow_nan=False)
                if len(text.encode()) > RESULT_BYTES:
                    body = {"error": "result too large", "code": "result_too_large"}
                else:
                    status, body = 200, {"result": json.loads(text)} | ({"notes": told(notes)} if notes else {})
    except TooLarge:
        body = {"error": "result too large", "code": "result_too_large"}
    except NotSerializable as error:
        body = {"error": str(error), "code": "result_not_serializable"}
    except SystemExit as error:
        body = {"error": f"exited: {error.code}", "code": "exited"}
    except MemoryError:
        body = {"error": "memory limit", "code": "memory_limit"}
    except BaseException as error:
        body = failure(error, "exception")
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_PROF, 0)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with open(job["reply"], "w") as reply:
        json.dump({"status": status, "body": body, "written": written}, reply)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        with open(sys.argv[2]) as job_file:
            run_one(json.load(job_file))
    sys.exit(main())
