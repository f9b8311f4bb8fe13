"""Which function failed: what the innermost frame of a failure was calling, found in its code and not in any message.

Compiled into the server and run in runner.py's namespace, whose names it uses, in the jail and after the script. What it answers
chooses a hint from a fixed table and is no boundary: a script that breaks it gets a poorer hint. It calls nothing of the script's,
and reads attributes only where that runs no code.
"""

import builtins
import dis
import types

# So many exceptions of a chain are looked at, and so many instructions of a function.
CAUSES = 8
INSTRUCTIONS = 20_000

_errno_of = OSError.__dict__["errno"].__get__
_mro_of = type.__dict__["__mro__"].__get__
_names_of = type.__dict__["__dict__"].__get__
_attribute = object.__getattribute__
_instructions_of = dis.get_instructions
_loads = ("LOAD_FAST", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_ATTR", "LOAD_METHOD")


def cause(error):
    """Return (called, inside, errno): the function that failed, as `fcntl.flock`, and the library's function that called it, each
    "" if there is none. `called` is "raise" where Python code raised the error itself."""
    called = inside = ""
    number = 0
    for _ in range(CAUSES):
        entry = _innermost(error)
        if entry is not None:
            called, inside = _called(entry), _inside(entry.tb_frame)
        if isinstance(error, OSError):
            number = _errno_of(error)
        # A library may wrap what the system said; a script that does so has its own reasons.
        before = _context_of(error)
        if called != "raise" or not inside or not isinstance(before, OSError):
            break
        error = before
    return called[:100], inside[:100], number if type(number) is int and abs(number) < 4096 else 0


def _innermost(error):
    last, entry = None, _traceback_of(error)
    while entry is not None:
        last, entry = entry, entry.tb_next
    return last


def _inside(frame):
    code = frame.f_code
    if code.co_filename == SCRIPT:
        return ""
    module = dict.get(frame.f_globals, "__name__")
    return f"{module}.{code.co_qualname}" if type(module) is str else code.co_qualname


def _called(entry):
    frame, at = entry.tb_frame, entry.tb_lasti
    before = []
    for instruction in _instructions_of(frame.f_code):
        if instruction.offset >= at or len(before) == INSTRUCTIONS:
            break
        before.append(instruction)
    else:
        return ""
    name = instruction.opname
    if name in ("RAISE_VARARGS", "RERAISE"):
        return "raise"
    if name.startswith("IMPORT"):
        return "import"
    if not name.startswith(("CALL", "PRECALL")):
        return ""
    # The function stands where the call begins: `fcntl`, then `fcntl.flock`.
    start = instruction.positions[0], instruction.positions[2]
    path = []
    for load in reversed(before):
        if (load.positions[0], load.positions[2]) == start and load.opname.startswith(_loads):
            if type(load.argval) is not str:
                return ""
            path.append(load.argval)
            if not load.opname.startswith(("LOAD_ATTR", "LOAD_METHOD")):
                break
    return _resolved(frame, path[::-1]) if path else ""


def _resolved(frame, path):
    first, *attributes = path
    for names in (frame.f_locals, frame.f_globals, builtins.__dict__):
        if type(names) is dict and first in names:
            value = names[first]
            break
    else:
        return ""
    for position, name in enumerate(attributes):
        if type(value) is types.ModuleType:
            value = _attribute(value, "__dict__").get(name)
            continue
        kind = value if issubclass(type(value), type) else type(value)
        found = next((base for base in _mro_of(kind) if name in _names_of(base)), None)
        if position == len(attributes) - 1 and found is not None:
            return f"{_module_of(found)}.{_qualified_name_of(found)}.{name}"
        try:
            value = _attribute(value, "__dict__")[name]
        except (AttributeError, KeyError, TypeError):
            return ""
    return _named(value)


def _named(value):
    if issubclass(type(value), type):
        return f"{_module_of(value)}.{_qualified_name_of(value)}"
    if type(value) in (types.BuiltinFunctionType, types.FunctionType):
        module, name = value.__module__, value.__name__
        return f"{module}.{name}" if type(module) is str and type(name) is str else ""
    return ""


def here():
    """Where this thread stands, as (line, traceback text) of an exception raised there; and what it wrote is flushed."""
    frame, line, entries = sys._getframe(1), None, []
    while frame is not None and len(entries) < DEEP and frame.f_code.co_filename != OWN:
        if line is None and frame.f_code.co_filename == SCRIPT:
            line = frame.f_lineno
        entries.append((frame, frame.f_lineno))
        frame = frame.f_back
    stack = _Stack(traceback.StackSummary.extract(reversed(entries)))
    for stream in _first_streams:
        try:
            stream.flush()
        except BaseException:  # noqa: BLE001, S110 - detached or closed by the script
            pass
    return line, "Traceback (most recent call last):\n" + "".join(stack.format())


def watch_first_streams():
    global _first_streams
    _first_streams = sys.__stdout__, sys.__stderr__
