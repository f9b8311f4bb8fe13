import mmap
import os


class Named(mmap.mmap):
    """A subclass with a constructor of its own."""

    def __new__(cls, name, size):
        made = super().__new__(cls, -1, size)
        made.name = name
        return made


def refused(*args, **named):
    try:
        mmap.mmap(*args, **named)
    except Exception as error:
        return type(error).__name__
    return "made"


def main():
    found = {}
    ways = {
        "default": lambda: mmap.mmap(-1, 8192),
        "named": lambda: mmap.mmap(fileno=-1, length=8192),
        "shared": lambda: mmap.mmap(-1, 8192, mmap.MAP_SHARED),
        "shared and anonymous": lambda: mmap.mmap(-1, 8192, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS),
        "private": lambda: mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE),
        "to write": lambda: mmap.mmap(-1, 8192, access=mmap.ACCESS_WRITE),
        "to copy": lambda: mmap.mmap(-1, 8192, access=mmap.ACCESS_COPY),
        "subclass": lambda: Named("own", 8192),
    }
    for name, make in ways.items():
        with make() as own:
            own[:5] = b"hello"
            own.seek(2)
            found[name] = [own.read(3).decode(), len(own), own.find(b"o"), isinstance(own, mmap.mmap)]
    with mmap.mmap(-1, 4096) as own:
        own[0] = 65
        found["kept"] = [len(own), own[0]]
        found["told"] = repr(own)
    found["types"] = [mmap.mmap.__name__, Named.__mro__[1] is mmap.mmap, Named("own", 10).name]
    found["refused"] = [
        refused(),
        refused(-1),
        refused("x", 1),
        refused(-1, 0),
        refused(-1, -1),
        refused(-1, 10, nothing=1),
        refused(-1, 10, access=9),
        refused(-1, 10, mmap.MAP_PRIVATE, access=mmap.ACCESS_WRITE),
        refused(-1, 10, fileno=3),
        refused(-1, 10, 1, 3, 0, 0, 0),
    ]
    path = os.__file__
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        found["file"] = mapped[:] == file.read()
    return found
