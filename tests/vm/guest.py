#!/usr/bin/env python3
"""Runs as root in the guest that run.py starts, on a kernel with AppArmor and cgroup v2, and holds Mayfly there to what it says.

What the kernel refuses to an ordinary user, `doctor` must name with a remedy; a server told to be at level full must end, one that
may choose must hold at level seccomp; and the remedy, taken at its word, must give level full. Where a control group is delegated to
the server, it must bound what nothing else does. If the kernel was started with mayfly.without=LAYER,LAYER, the checks of control groups
are made against servers that lack one of these each, and must fail. Prints a line for each check and a last one with the count of failures.
"""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import subprocess
import sys

# An isolated interpreter does not look beside the program.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import mayfly
from groups import what_groups_bound, what_is_missed
from mayfly import ADDRESS, PROGRAM, doctor, report, serving, shell

ORDINARY = {"user": 1000, "group": 1000, "extra_groups": []}
RESTRICTION = pathlib.Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
POLICY = pathlib.Path("/sys/kernel/security/apparmor")
# An emulated processor takes a dozen of them in seconds; all of them are the containment tests' business.
PARTS = ["--scripts", "30", "--attacks", "60"]
# What a profile of a service may look like whose author has not thought of namespaces.
ALLOWED = "file, network, unix, signal, ptrace, mqueue,"
# Ubuntu's own, in short, which its kernels put on whoever makes a user namespace without having the permission.
UBUNTU = ("profile unprivileged_userns { allow file rwlkm /**, network, unix, signal, ptrace, mqueue, userns, "
          "audit deny capability, audit deny change_profile, allow pix /** -> &unprivileged_userns, }")
# What of Docker's own matters here. It is written in the language of AppArmor 3, which has no word for user namespaces.
DOCKER = "profile docker-default flags=(attach_disconnected, mediate_deleted) { network, capability, file, umount, deny mount, }"


def load(profile: str, language: str = "4.0") -> None:
    shell(f"echo 'abi <abi/{language}>, {profile}' | apparmor_parser --replace")


def remove(*names: str) -> None:
    for name in names:
        (POLICY / ".remove").write_text(name)


def holds(as_user: dict, wanted: str, level: str) -> tuple[list[str], str]:
    """It serves at this level, and scripts and attacks come to what they must."""
    with serving(as_user, wanted) as server:
        if server.poll() is not None:
            return [f"ended with {server.returncode}: {server.stdout.read()}"], ""
        drive = subprocess.run([sys.executable, "-I", "/tests/container/drive.py", ADDRESS, level, *PARTS], capture_output=True, text=True)
    *wrong, counts = (drive.stdout + drive.stderr).strip().splitlines() or ["drive.py said nothing"]
    return wrong or ([counts] if drive.returncode else []), counts


def is_full(name: str, as_user: dict) -> None:
    full = doctor(as_user)["levels"]["full"]
    wrong, counts = holds(as_user, "full", "full")
    report(name, [*([] if full.get("granted") else [f"doctor says {full}"]), *wrong], counts)


def is_refused(name: str, as_user: dict, pattern: str) -> re.Match | None:
    """Level full is refused with a remedy of this pattern, and level seccomp is not. The remedy, if it has that."""
    told = doctor(as_user)
    full = told["levels"]["full"]
    remedy = re.fullmatch(pattern, full.get("remedy") or "")
    wrong = [] if remedy and full["granted"] is False and told["isolation"] == "seccomp" else [f"doctor says {full or told}"]
    with serving(as_user, "full") as server:
        pass
    said = server.stdout.read()
    if server.returncode != 78 or full.get("why", "?") not in said or "doctor" not in said:
        wrong.append(f"told to be at level full it ended with {server.returncode}: {said}")
    more, counts = holds(as_user, "auto", "seccomp")
    report(name, wrong + more, f"{full.get('why')}; serve ends with 78; auto: {counts}")
    return remedy


def what_ubuntu_restricts() -> None:
    """A kernel with the sysctl: whether or not the profile is loaded that it puts on those who make a user namespace."""
    pattern = r"(sysctl -w \S+=0), or for this program alone: (echo .*)"
    for loaded in (False, True):
        how = f"with the sysctl, {'with' if loaded else 'without'} the profile unprivileged_userns"
        if loaded:
            load(UBUNTU)
        RESTRICTION.write_text("1")
        remedy = is_refused(f"an ordinary user {how}", ORDINARY, pattern)
        is_full(f"root {how}", {})
        if remedy:
            shell(remedy[2])
            is_full(f"the profile that doctor names, {how}", ORDINARY)
            remove("mayfly")
            shell(remedy[1].replace("sysctl", "busybox sysctl"))
            is_full(f"the sysctl that doctor names, {how}", ORDINARY)
        RESTRICTION.write_text("0")
    remove("unprivileged_userns")


def what_a_profile_restricts(name: str, rules: str) -> None:
    """Any kernel with AppArmor: a profile that confines the program, and lacks something that level full needs."""
    load(f"profile service {PROGRAM} {{ {ALLOWED} {rules} }}")
    pattern = r"the AppArmor profile service confines Mayfly: add the flag (\w+) to it, and the rules `(.+)`"
    remedy = is_refused(f"a profile {name}", ORDINARY, pattern)
    if remedy:
        load(f"profile service {PROGRAM} flags=({remedy[1]}) {{ {ALLOWED} {remedy[2]} }}")
        is_full("the same with what doctor names", ORDINARY)
    remove("service")


def what_debian_restricts() -> None:
    """A sysctl older than AppArmor's rules, of Debian's kernels and Ubuntu's."""
    shell("busybox sysctl -w kernel.unprivileged_userns_clone=0")
    remedy = is_refused("an ordinary user with kernel.unprivileged_userns_clone=0", ORDINARY, r"(sysctl -w \S+=1)")
    shell("busybox sysctl -w kernel.unprivileged_userns_clone=1" if remedy is None else f"busybox {remedy[1]}")
    is_full("the sysctl that doctor names", ORDINARY)


def what_docker_restricts() -> None:
    """What makes a container one for `doctor`, with Docker's profile for AppArmor on it and without."""
    load(DOCKER, "3.0")
    wrong = []
    for profile in ("docker-default", "unconfined"):
        enter = f"echo exec {profile} >/proc/self/attr/exec && exec \"$@\""
        starter = ["/bin/busybox", "unshare", "--mount", "--pid", "--fork", "--mount-proc", "/bin/busybox", "sh", "-c", enter, "sh"]
        full = doctor({}, *starter, container="docker")["levels"]["full"]
        if profile == "unconfined" and full.get("granted") is not True:
            wrong.append(f"without it doctor says {full}")
        if profile != "unconfined" and not (full.get("remedy") or "").endswith("; for AppArmor also --security-opt apparmor=unconfined"):
            wrong.append(f"with it doctor says {full}")
        if profile != "unconfined":
            why = full.get("why")
    remove("docker-default")
    report("a container with Docker's profile", wrong, f"{why}; without it, level full")


def main() -> None:
    left_out = re.search(r"mayfly\.without=(\S+)", pathlib.Path("/proc/cmdline").read_text())
    if left_out:
        what_is_missed(left_out[1].split(","))
    else:
        what_is_refused_and_bounded()


def what_is_refused_and_bounded() -> None:
    modules = pathlib.Path("/sys/kernel/security/lsm").read_text()
    has_sysctl = RESTRICTION.exists()
    report(f"Linux {os.uname().release} has AppArmor", [] if "apparmor" in modules.split(",") else [modules],
           f"and {'the' if has_sysctl else 'no'} sysctl {RESTRICTION.name}")
    is_full("root, unconfined", {})
    if has_sysctl:
        what_ubuntu_restricts()
    is_full("an ordinary user, unconfined", ORDINARY)
    what_debian_restricts()
    what_a_profile_restricts("without `userns,`", "")
    what_a_profile_restricts("that allows user namespaces and no capability in them", "userns, mount, umount, pivot_root,")
    what_a_profile_restricts("without the flag attach_disconnected", "userns, capability, mount, umount, pivot_root,")
    what_docker_restricts()
    what_groups_bound()


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    try:
        main()
    except (OSError, RuntimeError, ValueError, LookupError, http.client.HTTPException) as error:
        report("the checks themselves", [repr(error)])
    print(f"{mayfly.failures} failures")
