"""What Mayfly's interpreter needs in Python: output streams, standard input, and the story of an exception.

Compiled into the server and run once in each zygote under the file name "<mayfly>", as a namespace that is in no
`sys.modules`. It works inside the jail, in the same interpreter as the script, which may replace anything it can
reach. So what is used after the script ran is captured here by name, every answer is checked again on the Rust side,
and nothing in here is a boundary: a script that breaks it only gets a poorer description of its own failure.
"""

import builtins
import io
import linecache
import os
import stat
import sys
import time
import traceback
from functools import partial

import _sitebuiltins

# These mend their locks and lists of threads in every new child. A zygote has one thread and holds no lock, so there is
# nothing to mend, and doing it costs a child a hundred copied pages: a third of its making. What `random` does there,
# `renewals` does in fewer steps. Hooks of other modules, third-party ones above all, are called as ever.
_NOTHING_TO_MEND = {"threading", "random", "logging", "concurrent.futures.thread"}
_register_at_fork = os.register_at_fork


def _register_unless_idle(**hooks):
    if sys._getframe(1).f_globals.get("__name__") not in _NOTHING_TO_MEND:
        _register_at_fork(**hooks)


os.register_at_fork = _register_unless_idle
import threading  # noqa: E402 - after this line, and nowhere earlier

SCRIPT = "main.py"
OWN = "<mayfly>"

# The most that is shown of one failure.
FRAMES = 50
EXCEPTIONS = 40
CHAIN = 16
MESSAGE = 4096
TEXT = 16 * 1024

# Above the default recursion limit, so that the usual RecursionError is shown as Python shows it: its repeated lines
# folded into one. A deeper stack is cut before it is read.
DEEP = 1100

# 10 kB would do for most threads; C recursion in the json and re modules needs more. Each counts against the job's
# address space, which is why it isn't glibc's 8 MiB.
THREAD_STACK = 1024 * 1024

_cause_of = BaseException.__dict__["__cause__"].__get__
_context_of = BaseException.__dict__["__context__"].__get__
_suppressed_in = BaseException.__dict__["__suppress_context__"].__get__
_traceback_of = BaseException.__dict__["__traceback__"].__get__
_members_of = BaseExceptionGroup.__dict__["exceptions"].__get__
_exit_code_of = SystemExit.__dict__["code"].__get__
_qualified_name_of = type.__dict__["__qualname__"].__get__
_module_of = type.__dict__["__module__"].__get__
_set_on_type = type.__setattr__
_exact_text = str.__str__
_TracebackException = traceback.TracebackException
_extract_tb = traceback.extract_tb


def prepare():
    """Give the interpreter its streams and the names `site` would have added; return stdout, stderr, and what is beneath each."""
    threading.stack_size(THREAD_STACK)
    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.help = _sitebuiltins._Helper()
    sys.stdout = sys.__stdout__ = _output(1, "<stdout>")
    sys.stderr = sys.__stderr__ = _output(2, "<stderr>")
    set_input(0)
    os.access, os.times = access, times
    os.readlink = _readlink_of(os.readlink)
    threading.excepthook, sys.unraisablehook = print_of_thread, print_unraisable
    # With two calls fewer to allow: `shutil.rmtree` and others see that they have to go by paths.
    os.supports_dir_fd -= {os.unlink, os.rmdir}
    _name_frozen_files()
    return sys.stdout, sys.stderr, sys.stdout.buffer, sys.stderr.buffer


def _output(descriptor, name):
    # Over a pipe, as a child has it: a stream finds out once whether it can seek, and here the descriptor is /dev/null, which can.
    given, (reading, writing) = os.dup(descriptor), os.pipe()
    os.dup2(writing, descriptor)
    raw = io.FileIO(descriptor, "wb", closefd=False)
    raw.name = name
    stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", newline="\n")
    stream.mode = "w"
    os.dup2(given, descriptor)
    for number in given, reading, writing:
        os.close(number)
    return stream


def _name_frozen_files():
    """Give modules that CPython carries inside the files they come from, as `os.__file__`, where it did not by itself (3.11)."""
    if sys._stdlib_dir is not None:
        return
    sys._stdlib_dir = sys.path[0]
    for module in tuple(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        state = getattr(spec, "loader_state", None)
        if getattr(state, "origname", None) and state.filename is None:
            path = os.path.join(sys._stdlib_dir, *state.origname.split("."))
            if spec.submodule_search_locations is None:
                state.filename = module.__file__ = path + ".py"
            else:
                state.filename = module.__file__ = os.path.join(path, "__init__.py")
                spec.submodule_search_locations.append(path)


def access(path, mode, *, dir_fd=None, effective_ids=False, follow_symlinks=True):
    """`os.access` by what `os.stat` tells; the filter has no place for the call that asks the kernel."""
    try:
        found = os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        is_own = found.st_dev == os.stat("/tmp").st_dev != os.stat("/").st_dev
    except OSError:
        return False
    # Outside its own /tmp a script is anybody, and all is read-only.
    granted = found.st_mode >> (6 if is_own and not found.st_mode & 0o1000 else 0) & 7
    return not mode & ~(granted if is_own else granted & ~os.W_OK)


def _readlink_of(kernels):
    """`os.readlink` for the links of the tree that scripts see, which has a handful and gets no more: the filter has no place for
    the call. `os.path.realpath` asks for each link on its way."""
    links = {}
    # Elsewhere paths begin with directories that are not the tree's.
    if sys.path[0].startswith("/usr/lib/"):
        for folder in ("/", "/usr/lib", "/usr/lib64", "/usr/share"):
            for entry in os.scandir(folder):
                if entry.is_symlink():
                    links[entry.path] = kernels(entry.path)

    def readlink(path, *, dir_fd=None):
        name = os.fsdecode(path)
        target = links.get(os.path.normpath(os.path.join(os.getcwd(), name))) if dir_fd is None else None
        if target is None:
            return kernels(path, dir_fd=dir_fd)
        return os.fsencode(target) if isinstance(path, bytes) else target

    return readlink


def times():
    """`os.times` without the split of user and system, which the filter does not tell."""
    return os.times_result((time.process_time(), 0.0, 0.0, 0.0, time.monotonic()))


# Python's own, up to 3.12, look for the lines of a script in a file, and there is none.


def print_of_thread(failed):
    """`threading.excepthook`: what it prints, with the script's lines."""
    if failed.exc_type is SystemExit or sys.stderr is None:
        return
    name = threading.get_ident() if failed.thread is None else failed.thread.name
    print(f"Exception in thread {name}:", file=sys.stderr)
    traceback.print_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)
    sys.stderr.flush()


def print_unraisable(failed):
    """`sys.unraisablehook`: the same."""
    if sys.stderr is None:
        return
    about = failed.err_msg
    if failed.object is not None:
        try:
            shown = repr(failed.object)
        except Exception:  # noqa: BLE001 - an evil __repr__
            shown = "<object repr() failed>"
        print(f"{about or 'Exception ignored in'}: {shown}", file=sys.stderr)
    elif about:
        print(f"{about}:", file=sys.stderr)
    if failed.exc_traceback is None:
        lines = traceback.format_exception_only(failed.exc_type, failed.exc_value)
    else:
        lines = traceback.format_exception(failed.exc_type, failed.exc_value, failed.exc_traceback, chain=False)
    sys.stderr.write("".join(lines))
    sys.stderr.flush()


def set_input(size, data=None):
    """Make standard input what descriptor 0 yields, `size` bytes; or `data`, where these did not fit there and it is closed."""
    if data is None:
        raw = io.FileIO(0, "rb", closefd=False)
        raw.name = "<stdin>"
        source = io.BufferedReader(raw)
        if size:
            _tell_size_of_socket(size)
    else:
        source = io.BytesIO(data)
        source.name = "<stdin>"
    stream = io.TextIOWrapper(source, encoding="utf-8")
    stream.mode = "r"
    sys.stdin = sys.__stdin__ = stream


def _tell_size_of_socket(size):
    """Have `os.fstat(0)` tell how large the input is where it lies in a socket: `os.read` is often asked for that much."""
    kernels = os.fstat

    def fstat(fd):
        found = kernels(fd)
        if fd != 0 or not stat.S_ISSOCK(found.st_mode):
            return found
        _, (numbers, others) = found.__reduce__()
        return os.stat_result((*numbers[:6], size, *numbers[7:]), others)

    try:
        if stat.S_ISSOCK(kernels(0).st_mode):
            os.fstat = fstat
    except OSError:
        # Where no path is followed, the C library's way to ask is refused, and a script will be told so.
        pass


def flush_by_line():
    """Let each line leave the process when it is complete, so that it outlives a kill."""
    sys.stdout.reconfigure(line_buffering=True)
    sys.stderr.reconfigure(line_buffering=True)


def renewals():
    """Return what a new child calls to have random state of its own, and restore what a script may register.

    Called when everything is imported. Python functions are avoided: each costs a child some copied pages.
    """
    os.register_at_fork = _register_at_fork
    modules = sys.modules
    calls = []
    if "random" in modules:
        # What its hook calls in turn. The rest of that is a second Gaussian number kept back, and none is.
        calls.append(partial(modules["_random"].Random.seed, modules["random"]._inst))
    if "numpy.random" in modules:
        # By itself it would draw more than it needs, in a tenth of a millisecond.
        seed = modules["numpy.random"].seed
        calls.append(lambda: seed(memoryview(os.urandom(32)).cast("I").tolist()))
    # `tempfile` renews itself when the process id changes, but that is 1 in every child.
    for module, name in (("tempfile", "_name_sequence"), ("uuid", "_node"), ("uuid", "_last_timestamp")):
        if module in modules:
            calls.append(partial(setattr, modules[module], name, None))
    return calls


def await_to_the_end(awaitable, is_coroutine):
    """Run what an `async def main` returned, in a new event loop."""
    run = event_loop()

    async def whole():
        return await awaitable

    return run(awaitable if is_coroutine else whole())


def event_loop():
    """Return `asyncio.run`, and never a file of that name that was sent."""
    path = leave_directory()
    try:
        from asyncio import run
    finally:
        sys.path = path
    return run


def describe(error):
    """Return (type name, message, line, column, traceback text) of an exception, each within its cap."""
    path = leave_directory()
    kind = type(error)
    if _module_of(kind) == "main":
        # The script's own classes are shown by their bare name, as Python does for those of `__main__`.
        _set_on_type(kind, "__module__", "__main__")
    name, message, line, column, text = _type_name(kind), "", None, None, ""
    try:
        message = _message(error)
        line, column = _place(error)
        text = _render(error)
    except BaseException:  # noqa: BLE001 - whatever the script did to us, its failure is still told
        pass
    # A program's threads and exit handlers still run.
    sys.path = path
    return name, message, line, column, text or (f"{name}: {message}\n" if message else f"{name}\n")


def _type_name(kind):
    module, name = _module_of(kind), _qualified_name_of(kind)
    if type(module) is not str or module in ("__main__", "builtins"):
        return _clip(name, MESSAGE)
    return _clip(f"{module}.{name}", MESSAGE)


def _message(error):
    if isinstance(error, SystemExit):
        code = _exit_code_of(error)
        shown = "" if code is None else repr(code) if type(code) in (int, bool, str) else "…"
        return _clip(f"the script called sys.exit({shown})", MESSAGE)
    try:
        return _clip(_exact_text(str(error)), MESSAGE)
    except BaseException:  # noqa: BLE001 - an evil __str__
        return "<exception str() failed>"


def _clip(text, most):
    if len(text) > most:
        text = text[: most - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


def _place(error):
    """The line and column a failure came from: the last frame in the script, or what a SyntaxError says."""
    line = None
    entry = _traceback_of(error)
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == SCRIPT:
            line = entry.tb_lineno
        entry = entry.tb_next
    if line is None and isinstance(error, SyntaxError) and error.filename == SCRIPT:
        if error.text is None and type(error.lineno) is int:
            # The compiler's later passes look for the line in a file.
            error.text = linecache.getline(SCRIPT, error.lineno) or None
        return error.lineno, error.offset or None
    return line, None


def _render(error):
    """The traceback as Python prints it, without our frames and within the caps."""
    room = [EXCEPTIONS]
    shown, cut = _shown(error, room)
    lines = ["[... earlier exceptions are left out ...]\n\n"] if cut else []
    lines.extend(shown.format())
    text = "".join(lines)
    if len(text) > TEXT:
        text = f"{text[: TEXT // 4]}\n  [... left out ...]\n{text[-(TEXT * 3 // 4) :]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(error, room):
    """The chain of `error`, newest first, each exception linked to the one it came from."""
    first = last = None
    by_cause = False
    seen = set()
    while error is not None and id(error) not in seen:
        if len(seen) == CHAIN or room[0] == 0:
            return first, True
        seen.add(id(error))
        room[0] -= 1
        this = _alone(error, room)
        if first is None:
            first = this
        elif by_cause:
            last.__cause__ = this
        else:
            last.__context__ = this
        last = this
        cause = _cause_of(error)
        by_cause = cause is not None
        if not by_cause and _suppressed_in(error):
            break
        error = cause if by_cause else _context_of(error)
    return first, False


def _alone(error, room):
    """One exception without those it came from.

    Python's own class walks the whole chain and every member of a group before it shows a few of them; a chain
    of 100,000 would take seconds. Given a `_seen` it leaves both alone (3.11 to 3.14), and they are linked here.
    """
    stack = _own_part(_traceback_of(error))
    limit = FRAMES // 2 if len(stack) > DEEP else None
    shown = _TracebackException(type(error), error, stack[0] if stack else None, limit=limit, _seen=set())
    shown.__cause__ = shown.__context__ = shown.exceptions = None
    shown.stack = _Stack(shown.stack)
    if isinstance(error, ModuleNotFoundError):
        # Newer releases add that `site` was not imported, about which a client can do nothing.
        shown._str = _message(error)
    if limit:
        shown.stack.left_out = len(stack) - 2 * limit
        shown.stack.extend(_extract_tb(stack[-limit]))
    if isinstance(error, BaseExceptionGroup):
        members = _members_of(error)
        shown.exceptions = [None] * len(members)
        for index in range(min(len(members), shown.max_group_width)):
            if room[0] == 0:
                del shown.exceptions[max(index, 1) :]
                break
            shown.exceptions[index], _ = _shown(members[index], room)
    return shown


def _own_part(entry):
    """The entries of a traceback that are the script's to see: from its first own frame on, if we called it."""
    entries, start = [], 0
    while entry is not None:
        entries.append(entry)
        if entry.tb_frame.f_code.co_filename == OWN:
            start = len(entries)
        entry = entry.tb_next
    if start:
        # Between us and the script stand only asyncio's frames, and only when we started the event loop.
        own = (i for i in range(start, len(entries)) if entries[i].tb_frame.f_code.co_filename == SCRIPT)
        start = next(own, start)
    return entries[start:]


class _Stack(traceback.StackSummary):
    """A stack that shows at most `FRAMES` entries after repeated ones were folded."""

    left_out = 0

    def format(self, **options):
        if self.left_out:
            half = len(self) // 2
            head, tail = _Stack(self[:half]), _Stack(self[half:])
            return [*head.format(**options), _gap(self.left_out), *tail.format(**options)]
        lines = super().format(**options)
        if len(lines) > FRAMES:
            half = FRAMES // 2
            lines[half:-half] = [_gap(len(lines) - 2 * half)]
        return lines


def _gap(count):
    return f"  [... {count} frames are left out ...]\n"
