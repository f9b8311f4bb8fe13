#!/bin/sh
# Prints the path of the one CPython that Mayfly embeds: MAYFLY_PYTHON where it is set, else /usr/bin/python3, else
# the newest that fits among the pythons on PATH. The Makefile passes it to cargo as PYO3_PYTHON, and
# tools/jail_root.py runs with it, so that the binary and the jail's standard library always belong together.
#
# It fits when it is CPython 3.11 to 3.14 with the global interpreter lock, its header files and its libpython.
set -eu

# Prints the interpreter's own path when it fits; otherwise says on standard error why not, and fails.
judge() {
    "$1" -I - "$1" <<'END'
import os, sys, sysconfig
given = sys.argv[1]
def refuse(why):
    sys.exit(f"{given} can't be embedded: {why}")
version = "%d.%d" % sys.version_info[:2]
if sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 14):
    refuse(f"it is {sys.implementation.name} {version}, and CPython 3.11 to 3.14 is needed.")
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    refuse("it is a free-threaded build, and the one with the global interpreter lock is needed.")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    refuse(f"its header files are missing (Debian has them in python{version}-dev).")
folders = [sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LIBPL") or ""]
names = [sysconfig.get_config_var("LDLIBRARY") or "", sysconfig.get_config_var("LIBRARY") or ""]
if not any(name and os.path.exists(os.path.join(folder, name)) for folder in folders for name in names):
    refuse(f"its libpython is missing (Debian has it in libpython{version}-dev).")
# In a virtual environment this is the interpreter that it was made from; behind a version manager's shim, the real one.
print(getattr(sys, "_base_executable", None) or sys.executable)
END
}

if [ -n "${MAYFLY_PYTHON:-}" ]; then
    if ! command -v "$MAYFLY_PYTHON" >/dev/null; then
        echo "MAYFLY_PYTHON is $MAYFLY_PYTHON, which is not there." >&2
        exit 1
    fi
    judge "$(command -v "$MAYFLY_PYTHON")"
    exit
fi

reasons=""
for name in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3; do
    path=$(command -v "$name") || continue
    if answer=$(judge "$path" 2>&1); then
        printf '%s\n' "$answer"
        exit
    fi
    reasons="$reasons
  $answer"
done
echo "No CPython 3.11 to 3.14 with header files and libpython was found; set MAYFLY_PYTHON to one.$reasons" >&2
exit 1
