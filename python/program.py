"""Gives a program what `python3 main.py` gives it: its module, its arguments, its streams, its exit status.

Compiled into the server and run in runner.py's namespace. It works in the jail, around the script. What it needs was taken before any
script ran, and nothing in here is a boundary.
"""

import _frozen_importlib_external

_SourceFileLoader = _frozen_importlib_external.SourceFileLoader
_Module = type(sys)
_COROUTINE = 0x80


def begin(path, home, argv):
    """Make the module `__main__` of the file `path`; `home` is its directory, or None where no file can be. Return the module."""
    global SCRIPT
    SCRIPT = path
    sys.argv = ["main.py", *argv]
    sys.orig_argv = ["python3", *sys.argv]
    sys.stdout.reconfigure(errors="surrogateescape")
    sys.stdin.reconfigure(errors="surrogateescape")
    if home is None:
        # Python's own looks for the lines in a file.
        sys.excepthook = sys.__excepthook__ = print_exception
    else:
        if sys.path[:1] != [home]:
            sys.path.insert(0, home)
        threading.excepthook, sys.unraisablehook = threading.__excepthook__, sys.__unraisablehook__
    module = _Module("__main__")
    names = module.__dict__
    names["__loader__"] = _SourceFileLoader("__main__", path)
    if sys.version_info < (3, 14):
        names["__annotations__"] = {}
    names["__builtins__"] = builtins
    names["__file__"] = path
    names["__cached__"] = None
    sys.modules["__main__"] = module
    return module


def print_exception(kind, error, trace):
    """`sys.excepthook`: what it prints, with the script's lines."""
    if isinstance(error, SyntaxError) and error.filename == SCRIPT and error.text is None and type(error.lineno) is int:
        # The compiler's later passes look for the line in a file.
        error.text = linecache.getline(SCRIPT, error.lineno) or None
    traceback.print_exception(kind, error, trace)


def run_awaiting(run, codes, names):
    """Run code with `await` at its top level in an event loop; return the value of the last."""

    async def whole():
        value = None
        for code in codes:
            value = eval(code, names)
            if code.co_flags & _COROUTINE:
                value = await value
        return value

    return run(whole())


def exit_code(error):
    """Return the exit status that a SystemExit stands for. What is neither a number nor None is printed."""
    code = getattr(error, "code", error)
    if code is None:
        return 0
    if isinstance(code, int):
        number = int.__index__(code)
        # As a C long, or -1 where it does not fit.
        return (number if -(1 << 63) <= number < 1 << 63 else -1) & 0xFF
    try:
        sys.stderr.write(str(code))
    except Exception:  # noqa: BLE001, S110 - an evil __str__, or no stream
        pass
    try:
        sys.stderr.write("\n")
        sys.stderr.flush()
    except Exception:  # noqa: BLE001, S110 - as above
        pass
    return 1
