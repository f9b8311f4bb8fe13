#!/usr/bin/env python3
"""Builds the jail's root: the directory tree that is all a script ever sees of a file system.

Run it with the CPython that the mayfly binary embeds:  $(tools/python.sh) tools/jail_root.py target/jail

    /usr/lib/python3.X/     the standard library with lib-dynload, precompiled
    /packages/              third-party packages, precompiled
    /usr/lib/<multiarch>/   every shared library that the two above, CPython and the mayfly binary need
    /lib, /lib64            symlinks into /usr
    /usr/lib/locale/C.utf8  the locale that the environment of a script names
    /usr/share/zoneinfo     symlink to the time zones of the tzdata package
    /usr/bin, /etc          empty
    /dev/null,zero,urandom  empty files for the devices to be mounted on
    /tmp                    empty, mode 1777
    /mayfly.json            what is inside (see `manifest`)

Nothing in it can be executed but the dynamic loader, which the kernel insists on for a program started inside (level
nsjail). Nothing comes from Debian's dist-packages, from a virtual environment or from the user's own site-packages.

The tree is built beside its place and moved there when it is whole. When nothing that it is made from has changed, it
is left alone, which takes a few milliseconds.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
MULTIARCH = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
LOCALE = Path("/usr/lib/locale/C.utf8")
STDLIB = Path(sysconfig.get_path("stdlib"))
DYNLOAD = Path(sysconfig.get_config_var("DESTSHARED") or STDLIB / "lib-dynload")
REQUIREMENTS = Path(__file__).resolve().parent.parent / "python" / "requirements.txt"

NEEDS_A_DISPLAY = "draws on a display, and the jail has none"
# Top-level modules of the standard library that stay outside, with the reason the manifest gives.
LEFT_OUT = {
    "ensurepip": "installs pip, and nothing can be installed in the jail",
    "_ios_support": "serves Apple's systems",
    "idlelib": NEEDS_A_DISPLAY,
    "_tkinter": NEEDS_A_DISPLAY,
    "tkinter": NEEDS_A_DISPLAY,
    "turtle": NEEDS_A_DISPLAY,
    "turtledemo": NEEDS_A_DISPLAY,
}
# What lies in a stdlib directory without being a part of it. sitecustomize.py is Debian's hook for crash reports.
NOT_STDLIB = re.compile(
    r"test|tests|__pycache__|site-packages|dist-packages|config-.*|sitecustomize\.py|EXTERNALLY-MANAGED|.*\.a|.*\.exe"
    r"|(_test|_ctypes_test|_xxtestfuzz|xxlimited|xxsubtype).*\.so"
)


class Refused(Exception):
    """The tree can't be built; the message is one sentence for the person who runs the build."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the directory tree that jailed scripts see.")
    parser.add_argument("tree", type=Path, help="where to build it, for example target/jail")
    parser.add_argument("--requirements", type=Path, default=REQUIREMENTS, help="pip requirements file with pins")
    parser.add_argument("--extra", type=Path, action="append", default=[], help="one more requirements file; repeatable")
    parser.add_argument("--binary", type=Path, help="also bring the shared libraries that this program needs")
    arguments = parser.parse_args()
    os.umask(0o022)
    try:
        build_when_stale(arguments)
    except Refused as refusal:
        sys.exit(f"jail_root: {refusal}")


def build_when_stale(arguments: argparse.Namespace) -> None:
    tree: Path = arguments.tree.absolute()
    tree.parent.mkdir(parents=True, exist_ok=True)
    requirements = [arguments.requirements, *arguments.extra]
    for missing in [path for path in requirements if not path.is_file()]:
        raise Refused(f"{missing} is not there.")
    with exclusively(tree.with_name(f".{tree.name}.lock")):
        stamp = tree.with_name(f"{tree.name}.stamp")
        recipe = recipe_of(requirements, arguments.binary)
        if (tree / "mayfly.json").is_file() and is_current(stamp, recipe):
            return
        with tempfile.TemporaryDirectory(prefix=f".{tree.name}-", dir=tree.parent) as workshop:
            staged = Path(workshop) / "tree"
            sources = build(staged, requirements, arguments.binary, Path(workshop))
            stamp.unlink(missing_ok=True)
            put_in_place(staged, tree)
        stamp.write_text(json.dumps({"recipe": recipe, "sources": {str(path): mark(path) for path in sources}}))


# ---- Is there anything to do? ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def exclusively(lock: Path):
    """Two builds at once: the second waits, and then finds the first one's tree."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def recipe_of(requirements: list[Path], binary: Path | None) -> str:
    linked = "shared" if needs_libpython() else "static"
    digest = hashlib.sha256(f"{sys.version}\0{sys.executable}\0{STDLIB}\0{binary}\0{linked}\0".encode())
    for path in [Path(__file__), *requirements]:
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_current(stamp: Path, recipe: str) -> bool:
    try:
        kept = json.loads(stamp.read_text())
        return kept["recipe"] == recipe and all(mark(Path(path)) == was for path, was in kept["sources"].items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def mark(path: Path) -> list[int]:
    """Changes when a package upgrade replaces the file (or adds to the directory) that the tree was made from."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


# ---- Building --------------------------------------------------------------------------------------------------------


def build(root: Path, requirements: list[Path], binary: Path | None, workshop: Path) -> list[Path]:
    """Builds the tree at `root` and returns the files that it was made from."""
    for directory in ["usr/bin", f"usr/lib/{MULTIARCH}", "etc", "dev", "tmp", "packages"]:
        (root / directory).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    for device in ["null", "zero", "urandom"]:
        (root / "dev" / device).touch()

    say(f"the standard library of CPython {platform.python_version()}")
    stdlib = root / "usr/lib" / PYTHON
    copy_stdlib(stdlib)
    packages = root / "packages"
    install_packages(packages, requirements, workshop)
    versions = {distribution.name: distribution.version for distribution in installed(packages)}
    say("installed " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
    remove_tests(packages)
    if "matplotlib" in versions:
        keep_matplotlib_in_its_place(packages)

    say("compiling")
    precompile(stdlib, root)
    precompile(packages, root)

    say("shared libraries")
    # Asked where they lie on the machine: a Python outside /usr finds its libraries relative to its own place.
    extensions = [DYNLOAD / path.name for path in (stdlib / "lib-dynload").glob("*.so")]
    # The interpreter itself needs what a program needs that it is linked into.
    wanted = [*extensions, *shared_objects(packages), *interpreter_libraries(), Path(sys.executable)]
    if binary is not None:
        wanted.append(binary)
    libraries = library_closure(wanted, root)
    copy_libraries(libraries, root)
    if (packages / "tzdata/zoneinfo").is_dir():
        (root / "usr/share").mkdir()
        (root / "usr/share/zoneinfo").symlink_to("../../packages/tzdata/zoneinfo")

    if LOCALE.is_dir():
        shutil.copytree(LOCALE, root / LOCALE.relative_to("/"), copy_function=shutil.copyfile)

    (root / "mayfly.json").write_text(json.dumps(manifest(packages, versions), indent=1, sort_keys=True) + "\n")
    set_modes(root)
    locale = [path for path in LOCALE.rglob("*") if path.is_file()]
    return [STDLIB, DYNLOAD, *libraries, *locale, *([binary] if binary else [])]


def say(what: str) -> None:
    print(f"jail_root: {what}", file=sys.stderr, flush=True)


def copy_stdlib(stdlib: Path) -> None:
    def beside_the_point(directory: str, names: list[str]) -> set[str]:
        skipped = {name for name in names if NOT_STDLIB.fullmatch(name)}
        if Path(directory) in (STDLIB, DYNLOAD):
            skipped |= {name for name in names if name.split(".")[0] in LEFT_OUT}
        return skipped

    shutil.copytree(STDLIB, stdlib, ignore=beside_the_point, copy_function=shutil.copyfile)
    if DYNLOAD.parent != STDLIB:
        shutil.copytree(DYNLOAD, stdlib / "lib-dynload", ignore=beside_the_point, copy_function=shutil.copyfile)
    if not list(stdlib.glob("_sysconfigdata*.py")):
        raise Refused(f"{STDLIB} has no _sysconfigdata module: its development files are not installed.")


def install_packages(packages: Path, requirements: list[Path], workshop: Path) -> None:
    environment = workshop / "pip"
    # pip of its own, because Debian's python3 comes without, and the user's may be of any age.
    made = subprocess.run([sys.executable, "-I", "-m", "venv", environment], capture_output=True, text=True)
    if made.returncode != 0:
        raise Refused(
            f"{sys.executable} can't make a virtual environment (Debian has what it needs in python3-venv):\n"
            + made.stdout + made.stderr
        )
    command = [environment / "bin/python", "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--no-input", "--no-compile", "--only-binary=:all:", "--target", packages]
    for path in requirements:
        command += ["--requirement", path]
    if subprocess.run(command).returncode != 0:
        raise Refused("pip could not install " + " and ".join(map(str, requirements)) + ".")

    pinned = {canonical(line) for path in requirements for line in path.read_text().splitlines() if "==" in line}
    strays = sorted(one.name for one in installed(packages) if canonical(one.name) not in pinned)
    if strays:
        raise Refused("not pinned in the requirements, but needed by a package that is: " + ", ".join(strays) + ".")
    # Programs and manual pages; --target leaves them beside the packages.
    for left in ["bin", "share/man"]:
        shutil.rmtree(packages / left, ignore_errors=True)


def canonical(requirement: str) -> str:
    """The name at the start of a requirement line, as PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", re.match(r"\s*([\w.-]*)", requirement)[1]).lower()


def installed(packages: Path) -> list[importlib.metadata.Distribution]:
    return list(importlib.metadata.distributions(path=[str(packages)]))


# ---- Removing the packages' test-suites ------------------------------------------------------------------------------


def remove_tests(packages: Path) -> None:
    """Takes out every `tests` directory that no module outside of one imports: half of pandas is its test-suite."""
    suites = {path for path in packages.rglob("tests") if path.is_dir() and not within_tests(path.parent, packages)}
    needed = set()
    for module in packages.rglob("*.py"):
        if not within_tests(module, packages):
            for name in imports_from_tests(module, packages):
                needed |= {suite for suite in suites if f"{name}.".startswith(dotted(suite, packages) + ".")}
    for suite in suites - needed:
        shutil.rmtree(suite)
    # Static libraries serve a compiler.
    for archive in packages.rglob("*.a"):
        archive.unlink()


def within_tests(path: Path, packages: Path) -> bool:
    return "tests" in path.relative_to(packages).parts


def dotted(path: Path, packages: Path) -> str:
    return ".".join(path.relative_to(packages).parts)


def imports_from_tests(module: Path, packages: Path) -> list[str]:
    source = module.read_bytes()
    if b"tests" not in source:
        return []
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = list(module.relative_to(packages).parts[: -node.level])
                base = ".".join([*above, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in names if "tests" in name.split(".")]


# ---- matplotlib ------------------------------------------------------------------------------------------------------

NEEDS_A_HOME = """def _get_config_or_cache_dir(xdg_base_getter):
    configdir = os.environ.get('MPLCONFIGDIR')
"""
HAS_A_HOME = """def _get_config_or_cache_dir(xdg_base_getter):
    # Changed for Mayfly, where no place need be writable: the list of fonts is made, and lies with them.
    if not os.environ.get('MPLCONFIGDIR'):
        return os.path.join(os.path.dirname(__file__), 'mpl-data')
    configdir = os.environ.get('MPLCONFIGDIR')
"""


def keep_matplotlib_in_its_place(packages: Path) -> None:
    """It refuses to be imported without a directory to write to, for its list of fonts, and looks for fonts at the first
    import. Level seccomp has no such directory, and no fonts come later than now."""
    module = packages / "matplotlib/__init__.py"
    source = module.read_text()
    if source.count(NEEDS_A_HOME) != 1:
        raise Refused("matplotlib looks for its directory in another way than this version of Mayfly knows.")
    module.write_text(source.replace(NEEDS_A_HOME, HAS_A_HOME))
    code = f"import sys; sys.path.insert(0, {str(packages)!r}); import matplotlib.font_manager"
    environment = {"PATH": "", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-B", "-c", code], check=True, env=environment)
    if not list((packages / "matplotlib/mpl-data").glob("fontlist-*.json")):
        raise Refused("matplotlib made no list of its fonts.")


# ---- Compiling -------------------------------------------------------------------------------------------------------


def precompile(directory: Path, root: Path) -> None:
    """Unchecked: an import reads the .pyc alone and asks for no date. A file that is no valid Python (some packages
    ship templates) stays as it is: importing it is a SyntaxError with or without this."""
    compileall.compile_dir(
        directory,
        maxlevels=64,
        quiet=2,
        workers=os.cpu_count() or 1,
        stripdir=str(root),
        prependdir="/",
        optimize=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


# ---- Shared libraries ------------------------------------------------------------------------------------------------


def shared_objects(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*.so*") if path.is_file() and path.open("rb").read(4) == b"\x7fELF"]


def needs_libpython() -> bool:
    """Whether the program does: unless tools/python_env.sh has the interpreter's archive linked into it."""
    config = os.environ.get("PYO3_CONFIG_FILE")
    if config and "shared=false" in Path(config).read_text().split():
        return False
    return bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))


def interpreter_libraries() -> list[Path]:
    """libpython where the program needs it, libgcc_s, which glibc loads by name when a thread ends, and the loader."""
    found = []
    if needs_libpython():
        folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
        path = Path(folder, name)
        if not path.exists():
            raise Refused(f"{path} is not there.")
        found.append(path)
    program = ["ldd", sys.executable]
    output = subprocess.run(program, capture_output=True, text=True).stdout
    libc = re.search(r"libc\.so\.6 => (\S+)", output)
    if not libc:
        raise Refused(f"`ldd {sys.executable}` names no libc: only CPythons linked with glibc are supported.")
    folders = [Path(libc[1]).parent, Path("/usr/lib", MULTIARCH), Path("/lib", MULTIARCH), Path("/usr/lib64"), Path("/usr/lib")]
    for folder in folders:
        if (folder / "libgcc_s.so.1").exists():
            return [*found, folder / "libgcc_s.so.1"]
    raise Refused("libgcc_s.so.1 is missing (Debian has it in libgcc-s1).")


def library_closure(wanted: list[Path], root: Path) -> dict[Path, str]:
    """Every library outside `root` that the files need, as ldd finds it, with the name it is looked for by."""
    output = subprocess.run(["ldd", *wanted], capture_output=True, text=True).stdout
    inside = {path.name for path in shared_objects(root / "packages")}
    closure: dict[Path, str] = {path: path.name for path in wanted if ".so" in path.name
                                and not path.is_relative_to(root) and path.parent != DYNLOAD}
    asking = ""
    for line in output.splitlines():
        if not line[:1].isspace():
            asking = line.rstrip(":")
        elif found := re.match(r"\s+(\S+) => (/.*) \(0x", line) or re.match(r"\s+((/\S+)) \(0x", line):
            path = Path(found[2])
            if not path.is_relative_to(root):
                closure[path] = Path(found[1]).name
        elif (missing := re.match(r"\s+(\S+) => not found", line)) and missing[1] not in inside:
            raise Refused(f"{asking} needs {missing[1]}, which is not on this machine.")
    return closure


def copy_libraries(libraries: dict[Path, str], root: Path) -> None:
    home = root / "usr/lib" / MULTIARCH
    for path, name in libraries.items():
        shutil.copyfile(path, home / name)
    # A program names its loader by an absolute path that differs between architectures; both spellings lead to the copy.
    for loader in home.glob("ld-linux*.so.*"):
        (root / "usr/lib64").mkdir(exist_ok=True)
        (root / "lib64").symlink_to("usr/lib64")
        (root / "usr/lib64" / loader.name).symlink_to(f"../lib/{MULTIARCH}/{loader.name}")
        (root / "usr/lib" / loader.name).symlink_to(f"{MULTIARCH}/{loader.name}")


# ---- Finishing -------------------------------------------------------------------------------------------------------


def manifest(packages: Path, versions: dict[str, str]) -> dict:
    """`packages`: distribution → version. `modules`: what to import → the distribution it comes from.
    `left_out`: the standard library's modules that can't be imported in the jail → why."""
    modules = {}
    for distribution in installed(packages):
        for file in distribution.files or []:
            top = file.parts[0].split(".")[0]
            if top.isidentifier() and top != "__pycache__" and file.suffix in (".py", ".so"):
                if len(file.parts) > 1 or file.name.count(".") == 1 or file.suffix == ".so":
                    if (packages / file.parts[0]).exists():
                        modules[top] = distribution.name
    left_out = dict(LEFT_OUT)
    for name in sys.stdlib_module_names - LEFT_OUT.keys():
        if importlib.util.find_spec(name) is None:
            left_out[name] = "this build of CPython does not have it"
    return {
        "python": platform.python_version(),
        "stdlib": f"/usr/lib/{PYTHON}",
        "packages": versions,
        "modules": modules,
        "left_out": {name: left_out[name] for name in left_out if name in sys.stdlib_module_names},
    }


def set_modes(root: Path) -> None:
    """Readable by every uid that a jailed script may have, writable by none but the owner."""
    for directory, _, files in os.walk(root):
        os.chmod(directory, 0o755)
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(0o755 if name.startswith("ld-linux") else 0o644)
    (root / "tmp").chmod(0o1777)


def put_in_place(staged: Path, tree: Path) -> None:
    """In one step where the file system can swap two directories, so that there is never no tree; the old one is then
    in the workshop's place and goes with it."""
    if not tree.exists():
        staged.rename(tree)
        return
    at_fdcwd, exchange = -100, 2
    swap = ctypes.CDLL(None, use_errno=True).renameat2
    if swap(at_fdcwd, bytes(staged), at_fdcwd, bytes(tree), exchange) != 0:
        tree.rename(staged.with_name("old"))
        staged.rename(tree)


if __name__ == "__main__":
    main()
