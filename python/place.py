"""A script's directory, where files came with the script: it can import them, as beside a `main.py` of its own.

Part of the namespace of `runner.py`. What is imported for our own purposes is never one of those.
"""

# What every interpreter has loaded before it runs a script: a file of this name is imported nowhere else either.
_AT_START = frozenset(
    "abc builtins codecs encodings genericpath io marshal nt ntpath os posix posixpath site stat sys time warnings zipimport"
    " __main__ main".split()
)


_directory = None


def enter_directory(directory, names):
    """Have imports look in `directory` first, for `names`, its modules, too: as if none of these were loaded yet."""
    global _directory
    _directory = directory
    sys.path.insert(0, directory)
    for name in names:
        if name in _AT_START or name in sys.builtin_module_names or name.startswith("_"):
            continue
        if name in sys.modules:
            for known in [known for known in sys.modules if known == name or known.startswith(name + ".")]:
                del sys.modules[known]


def leave_directory():
    """Have imports look there no more; return where they looked, for who wants that back."""
    path = sys.path
    if _directory is not None and type(path) is list:
        sys.path = [place for place in path if place != _directory]
    return path
