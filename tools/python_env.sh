#!/bin/sh
# Prints, for `eval`, how cargo is to embed CPython: PYO3_PYTHON, the one that tools/python.sh chose, and, where that one is
# itself linked with its interpreter and the archive is at hand, PYO3_CONFIG_FILE, which has Mayfly linked the same way.
# Calls inside the interpreter then go straight instead of through the tables of a shared library: 10 to 15 % less time in
# pure Python code.
set -eu
cd "$(dirname "$0")/.."
python=$(tools/python.sh)
config="$(pwd)/target/pyo3-config.txt"
mkdir -p target
printf 'export PYO3_PYTHON=%s\n' "'$python'"
if "$python" -I - "$config" <<'END'
import os, re, sys, sysconfig
variable = sysconfig.get_config_var
archive = os.path.join(variable("LIBPL") or "", variable("LIBRARY") or "")
with open("/proc/self/maps") as maps:
    is_shared = "libpython" in maps.read()
if is_shared or not os.path.isfile(archive):
    sys.exit(1)
name = re.fullmatch(r"lib(python.+)\.a", os.path.basename(archive)).group(1)
flags = " ".join(variable(key) or "" for key in ("MODLIBS", "LIBS", "SYSLIBS")).split()
libraries = dict.fromkeys(flag[2:] for flag in flags if flag.startswith("-l"))
lines = [
    "implementation=CPython",
    "version=%d.%d" % sys.version_info[:2],
    "shared=false",
    f"lib_name={name}",
    f"lib_dir={os.path.dirname(archive)}",
    f"executable={sys.executable}",
    f"pointer_width={64 if sys.maxsize > 2**32 else 32}",
    "suppress_build_script_link_lines=true",
    f"extra_build_script_line=cargo:rustc-link-search=native={os.path.dirname(archive)}",
    # All of it: extension modules use what Mayfly itself does not.
    f"extra_build_script_line=cargo:rustc-link-lib=static:+whole-archive,-bundle={name}",
    *(f"extra_build_script_line=cargo:rustc-link-lib=dylib={library}" for library in libraries),
]
text = "\n".join(lines) + "\n"
try:
    with open(sys.argv[1]) as old:
        unchanged = old.read() == text
except OSError:
    unchanged = False
if not unchanged:  # cargo rebuilds when the file's time changes
    with open(sys.argv[1], "w") as new:
        new.write(text)
END
then
    printf 'export PYO3_CONFIG_FILE=%s\n' "'$config'"
fi
