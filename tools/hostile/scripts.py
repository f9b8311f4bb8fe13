"""What an attacker has run: each script takes as much as it can get of one thing, and says so if it got what it must not.

A result that begins with ESCAPED is a hole. Each script ends by itself or at its limits within seconds, so that its attacker goes on to
the next; how many run at once is the attacker's to decide.
"""

# Calls by their C names, for what Python has no words for.
LIBC = """
import ctypes, os, sys, time, _thread, threading
c = ctypes.CDLL(None, use_errno=True)
c.mmap.restype = ctypes.c_void_p
c.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
c.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
c.pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
NOWHERE = ctypes.c_void_p(-1).value
def private(size):
    at = c.mmap(None, size, 3, 0x22, -1, 0)
    return None if at in (None, NOWHERE) else at
def in_threads(count, work):
    threading.stack_size(32768)
    made = 0
    try:
        while made < count:
            _thread.start_new_thread(work, ())
            made += 1
    except (RuntimeError, MemoryError):
        pass
    return made
def largest_file():
    found = (0, None)
    for top in ('packages', 'usr/lib', '/packages', '/usr/lib'):
        for place, _, names in os.walk(top):
            for name in names:
                path = os.path.join(place, name)
                try:
                    found = max(found, (os.stat(path).st_size, path))
                except OSError:
                    pass
        if found[1]:
            break
    return found
"""

# 62 threads wait for the disk when the kill comes: past the page cache where a flag for that is granted, else by reading at large.
DISK = LIBC + """
def main(direct):
    size, path = largest_file()
    if path is None:
        return 'no files'
    got = []
    fds = [os.open(path, os.O_RDONLY)]
    for flags in (0o40000, 0o4010000, 0o10000):
        try:
            fds.append(os.open(path, os.O_RDONLY | flags))
            got.append(oct(flags))
        except OSError:
            pass
    import fcntl
    try:
        fcntl.fcntl(fds[0], 4, 0o40000)
        got.append('F_SETFL')
    except OSError:
        pass
    if got and direct:
        return 'ESCAPED ' + ' '.join(got)
    room = private(1 << 20)
    def work():
        at = 0
        while True:
            c.pread(fds[-1], room, 1 << 20, at)
            at = (at + (1 << 20)) % max(1, size - (1 << 20))
    in_threads(62, work)
    time.sleep(30)
"""

SHARED = LIBC + """
def main():
    held = 0
    for flags, fd in ((0x21, -1), (0x1, 'zero')):
        try:
            fd = os.open('/dev/zero', os.O_RDWR) if fd == 'zero' else fd
        except OSError:
            continue
        for _ in range(8):
            at = c.mmap(None, 32 << 20, 3, flags, fd, 0)
            if at in (None, NOWHERE):
                break
            c.memset(at, 1, 32 << 20)
            c.munmap(at + 4096, (32 << 20) - 4096)
            held += 32
    time.sleep(.5)
    return f'ESCAPED {held} MB' if held else 'refused'
"""

THREADS = LIBC + """
def main():
    made, end = 0, time.time() + 2
    while time.time() < end:
        made += in_threads(2000, lambda: time.sleep(5))
        time.sleep(.02)
    return f'ESCAPED {made}' if made > 1200 else made
"""

SPIN = LIBC + """
def main(count):
    size = 8 << 20
    room, go = private(size), threading.Event()
    def work():
        go.wait()
        while True:
            c.memset(room, 0, size)
    in_threads(count, work)
    go.set()
    time.sleep(30)
"""

# As many threads come and go as can.
CHURN = LIBC + """
def main():
    end = time.time() + 2
    while time.time() < end:
        in_threads(60, int)
"""

HOG = """
import time
def main(megabytes):
    kept = []
    try:
        for _ in range(megabytes):
            kept.append(bytearray(b'x') * (1 << 20))
    except MemoryError:
        pass
    time.sleep(.7)
    return len(kept)
"""

PAGE_TABLES = LIBC + """
def main():
    made = 0
    for number in range(20000):
        at = c.mmap((1 << 44) + (number << 30), 4096, 3, 0x100022, -1, 0)
        if at in (None, NOWHERE):
            break
        ctypes.c_char.from_address(at).value = b'x'
        made += 1
    time.sleep(.5)
    return made
"""

MAPPINGS = LIBC + """
def main():
    made = 0
    at = private(200 << 20)
    while at and made < 25000 and c.mprotect(ctypes.c_void_p(at + made * 8192), 4096, 1) == 0:
        made += 1
    time.sleep(.3)
    return made
"""

TMP = """
import os, tempfile
def main():
    files, bytes_ = 0, 0
    try:
        top = tempfile.gettempdir()
        for number in range(2000):
            with open(f'{top}/{number}', 'wb') as out:
                files += 1
                bytes_ += out.write(b'x' * 65536)
    except OSError as error:
        return [files, bytes_, error.errno]
    return f'ESCAPED {files} files'
"""

NAMES = """
import os, time
def main():
    end, number = time.time() + 1.5, 0
    while time.time() < end:
        for number in range(number, number + 1000):
            try:
                os.stat(f'/tmp/no-such-{number}')
            except OSError:
                pass
    return number
"""

FORKS = LIBC + """
def main():
    got, end = [], time.time() + .5
    while time.time() < end and not got:
        for what in (os.fork, lambda: os.posix_spawn('/bin/true', ['true'], {}), lambda: c.syscall(56, 17, 0, 0, 0, 0), lambda: c.syscall(58)):
            try:
                pid = what()
            except (OSError, AttributeError):
                continue
            if pid == 0:
                os._exit(0)
            if pid > 0:
                got.append(pid)
    return f'ESCAPED {got}' if got else 'refused'
"""

FLOOD = """
import os
def main():
    piece = b'x' * 65536
    while True:
        os.write(1, piece)
        os.write(2, piece)
"""

DRIP = """
import os
def main():
    for number in range(100000):
        os.write(1, b'.')
    return 'dripped'
"""

SOCKETS = """
import socket
def main():
    kept = []
    try:
        while len(kept) < 100:
            pair = socket.socketpair()
            kept.append(pair)
            for end in pair:
                end.setblocking(False)
                while True:
                    try:
                        end.send(b'x' * 4096)
                    except BlockingIOError:
                        break
    except OSError as error:
        return [len(kept), error.errno]
"""

DESCRIPTORS = """
import os, time
def main():
    made = 0
    try:
        while made < 5000:
            os.dup(1)
            made += 1
    except OSError:
        pass
    time.sleep(.3)
    return f'ESCAPED {made}' if made > 1000 else made
"""

# Whatever descriptor leads to the supervisor is told what no child says.
FORGE = """
import os, random
def main(seed):
    chance = random.Random(seed)
    for fd in range(64):
        try:
            os.write(fd, chance.randbytes(chance.choice((1, 4, 9, 200, 65536))))
        except OSError:
            pass
    return 'forged'
"""

RESULTS = """
def main(kind):
    if kind == 0:
        return ['a'] * 260000
    if kind == 1:
        return [0.1] * 200000
    if kind == 2:
        return [[]] * 300000
    return {'k' * 10 + str(number): None for number in range(60000)}
"""

ENDS = """
import ctypes, os, sys
def main(kind):
    if kind == 0:
        os._exit(3)
    if kind == 1:
        ctypes.string_at(0)
    if kind == 2:
        os.abort()
    sys.exit(7)
"""

RECURSION = """
import sys
def main():
    sys.setrecursionlimit(1 << 30)
    def down(n):
        return down(n + 1)
    return down(0)
"""

SLEEP = "import time\ndef main():\n    time.sleep(30)"
SHORT = "import time\ndef main():\n    time.sleep(.05)\n    return 1"

BRIEF = {"wall_ms": 1500}
LONG = {"wall_ms": 4000, "cpu_ms": 20000}


def all_of(chance, memory):
    """Name, request, and how many of it one attacker has under way at a time. `memory` is the most that may be asked for, in MiB."""
    with_usage = {"include": ["usage"]}
    return [
        ("disk: undying child", {"script": DISK, "args": [True], "limits": BRIEF, **with_usage}, 4),
        ("disk: 62 readers", {"script": DISK, "args": [False], "limits": BRIEF}, 2),
        ("memory: unmapped shared pages", {"script": SHARED}, 4),
        ("memory: hog up to memory_mb", {"script": HOG, "args": [2 * memory], "limits": {"memory_mb": memory, "wall_ms": 4000}}, 2),
        ("memory: hog at the default", {"script": HOG, "args": [1000]}, 3),
        ("memory: page tables", {"script": PAGE_TABLES}, 3),
        ("memory: mappings", {"script": MAPPINGS}, 3),
        ("memory: socket buffers", {"script": SOCKETS}, 4),
        ("memory: names of no files", {"script": NAMES}, 3),
        ("threads: bomb", {"script": THREADS}, 4),
        ("threads: shares of the processors", {"script": SPIN, "args": [63], "limits": LONG}, 6),
        ("threads: one that spins", {"script": SPIN, "args": [1], "limits": LONG}, 6),
        ("threads: come and go", {"script": CHURN}, 3),
        ("tmp: filled", {"script": TMP}, 4),
        ("processes: forks", {"script": FORKS}, 4),
        ("descriptors: copies", {"script": DESCRIPTORS}, 4),
        ("output: flood", {"script": FLOOD, "include": ["stdout"], "limits": BRIEF}, 3),
        ("output: byte by byte", {"script": DRIP, "include": ["stdout", "stderr"]}, 3),
        ("replies: forged", {"script": FORGE, "args": [chance.randrange(1 << 30)]}, 6),
        ("replies: large", {"script": RESULTS, "args": [chance.randrange(4)]}, 4),
        ("ends: crashes", {"script": ENDS, "args": [chance.randrange(4)], **with_usage}, 8),
        ("ends: recursion", {"script": RECURSION}, 3),
        ("queue: sleepers", {"script": SLEEP, "limits": {"wall_ms": 2500}}, 40),
        ("queue: bursts", {"script": SHORT}, 60),
    ]
