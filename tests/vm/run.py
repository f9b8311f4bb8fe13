#!/usr/bin/env python3
"""Boots a kernel with AppArmor and cgroup v2 in an emulator, with Mayfly in it: what is refused, what helps, what control groups bound.

    tests/vm/run.py [--kernel FILE] [--program FILE] [--jail DIRECTORY] [--without LAYER,LAYER]

Needs x86_64 Linux and a release build; tools/vm.sh brings the emulator, Debian's kernel and AppArmor's parser. --kernel takes another
kernel: of an Ubuntu's, which alone has the sysctl kernel.apparmor_restrict_unprivileged_userns, more is checked. The guest is an
initramfs without disk, network or drivers, so any x86_64 kernel will do that has AppArmor and a serial line built in. What is checked
is in guest.py. Prints a line for each check, and exits 1 if one failed or the guest did not come to its end. With --without, which takes
a test build, the checks of control groups alone are made, once against a server that lacks each of the layers: they must fail.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
# Under load the emulator takes some times the half minute that it needs otherwise.
SECONDS = 420
# Always emulated: the same on every machine, whoever may use /dev/kvm there, and nested KVM is not to be relied on.
EMULATOR = [
    "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1G", "-smp", "2",
    "-nodefaults", "-display", "none", "-no-reboot",
]
# Debian's kernel has AppArmor among its modules by itself, but after some that nothing here needs.
COMMAND_LINE = "console=ttyS0 quiet panic=-1 apparmor=1 lsm=landlock,apparmor"


def run(*command: str | pathlib.Path) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def libraries(*programs: pathlib.Path) -> list[pathlib.Path]:
    return [pathlib.Path(path) for path in sorted(set(re.findall(r"(?:=> |^\s*)(/\S+) \(0x", run("ldd", *programs), re.MULTILINE)))]


def place(file: pathlib.Path, root: pathlib.Path, path: pathlib.Path) -> None:
    """A copy of the file at this absolute path below the root."""
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, target)


def make_tree(tree: pathlib.Path, parts: pathlib.Path, program: pathlib.Path, jail: pathlib.Path) -> None:
    """The guest's root: Mayfly, a Python to drive it with, the tests, and AppArmor's parser."""
    python = pathlib.Path(run(REPOSITORY / "tools/python.sh")).resolve()
    for directory in ("proc", "sys", "dev", "tmp", "usr/lib", "usr/lib64"):
        (tree / directory).mkdir(parents=True, exist_ok=True)
    for link in ("lib", "lib64"):
        (tree / link).symlink_to(f"usr/{link}")
    place(parts / "busybox", tree, pathlib.Path("/bin/busybox"))
    shutil.copytree(parts / "apparmor", tree / "apparmor", symlinks=True)
    place(program, tree, pathlib.Path("/mayfly/bin/mayfly"))
    # Without the packages but the time zones: the guest is small, and importing pandas takes an emulated processor seconds.
    packages = str(jail / "packages")

    def unwanted(at: str, names: list[str]) -> list[str]:
        return [name for name in names if name != "tzdata"] if at == packages else []

    shutil.copytree(jail, tree / "mayfly/jail", symlinks=True, ignore=unwanted)
    manifest = json.loads((jail / "mayfly.json").read_text())
    (tree / "mayfly/jail/mayfly.json").write_text(json.dumps({**manifest, "packages": {}, "modules": {}}))
    for file in libraries(program, python):
        place(file, tree, file)
    # The jail has a standard library already.
    stdlib = pathlib.Path(manifest["stdlib"])
    shutil.copytree(jail / stdlib.relative_to("/"), tree / stdlib.relative_to("/"), symlinks=True, dirs_exist_ok=True)
    inside = stdlib.parent.parent / "bin" / python.name
    place(python, tree, inside)
    (tree / "python").write_text(str(inside))
    for path in ("vm/guest.py", "vm/groups.py", "vm/mayfly.py", "container/drive.py"):
        place(HERE.parent / path, tree, pathlib.Path("/tests") / path)
    for directory in ("scripts", "attacks"):
        shutil.copytree(HERE.parent / directory, tree / "tests" / directory)
    shutil.copy2(HERE / "init", tree / "init")


def make_initramfs(directory: pathlib.Path, parts: pathlib.Path, program: pathlib.Path, jail: pathlib.Path) -> pathlib.Path:
    root, archive = directory / "root", directory / "initramfs"
    make_tree(root / "tree", parts, program, jail)
    (root / "new").mkdir()
    shutil.copy2(HERE / "init", root / "init")
    place(parts / "busybox", root, pathlib.Path("/bin/busybox"))
    with archive.open("wb") as output:
        names = subprocess.run([parts / "busybox", "find", "."], cwd=root, capture_output=True, check=True).stdout
        subprocess.run([parts / "busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"], cwd=root, input=names, stdout=output,
                       stderr=subprocess.DEVNULL, check=True)
    shutil.rmtree(root)
    return archive


def boot(kernel: pathlib.Path, archive: pathlib.Path, console: pathlib.Path, without: str) -> str:
    """Passes on what the guest says, and returns its last line."""
    command = [*EMULATOR, "-serial", f"file:{console}", "-serial", "stdio",
               "-kernel", str(kernel), "-initrd", str(archive), "-append", COMMAND_LINE + (f" mayfly.without={without}" if without else "")]
    last = ""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as emulator:
        watchdog = threading.Timer(SECONDS, emulator.kill)
        watchdog.start()
        try:
            for line in emulator.stdout:
                last = line.strip()
                print(line.rstrip(), flush=True)
        finally:
            watchdog.cancel()
            emulator.kill()
    return last


def main() -> None:
    target = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
    parser = argparse.ArgumentParser(description="Tests Mayfly on a kernel with AppArmor.")
    parser.add_argument("--kernel", type=pathlib.Path, help="a kernel other than Debian's")
    parser.add_argument("--program", type=pathlib.Path, default=target / "release/mayfly")
    parser.add_argument("--jail", type=pathlib.Path, default=target / "jail")
    parser.add_argument("--without", default="", help="layers to leave out, each by itself")
    arguments = parser.parse_args()
    # So that the emulator ends with this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begun = time.monotonic()
    if platform.machine() != "x86_64":
        print(f"NOT CHECKED: AppArmor and its remedies; this is for x86_64, and here is {platform.machine()}")
        return
    if not arguments.program.exists() or not arguments.jail.exists():
        sys.exit(f"there is no {arguments.program} with {arguments.jail}: `make build` makes them")
    parts = pathlib.Path(run(REPOSITORY / "tools/vm.sh"))
    with tempfile.TemporaryDirectory(prefix="mayfly-vm-") as directory:
        console = pathlib.Path(directory) / "console"
        archive = make_initramfs(pathlib.Path(directory), parts, arguments.program, arguments.jail)
        print(f"made    the guest after {time.monotonic() - begun:.0f} s, {archive.stat().st_size / 1e6:.0f} MB", flush=True)
        last = boot(arguments.kernel or parts / "vmlinuz", archive, console, arguments.without)
        came_to_its_end = re.fullmatch(r"\d+ failures", last)
        if not came_to_its_end:
            print(f"FAILED  the guest did not come to its end, within {SECONDS} s; the kernel's last words:")
            print(console.read_text(errors="replace")[-4000:] if console.exists() else "none")
    print(f"{time.monotonic() - begun:.0f} s")
    sys.exit(0 if last == "0 failures" else 1)


if __name__ == "__main__":
    main()
