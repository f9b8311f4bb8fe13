#!/bin/sh
# Prints, for `eval`, how cargo is to embed CPython: PYO3_PYTHON, the one that tools/python.sh chose, and, where that one is
# itself linked with its interpreter and the archive is at hand, PYO3_CONFIG_FILE, which has Mayfly linked the same way.
# Calls inside the interpreter then go straight instead of through the tables of a shared library: 10 to 25 % less time in
# pure Python code.
#
# Debian 13's archive lacks one of its parts, the code behind the module _sha2. There a copy of it is made, in which that
# module has its functions from OpenSSL, as hashlib has them everywhere (tools/sha2module.c).
set -eu
cd "$(dirname "$0")/.."
python=$(tools/python.sh)
config="$(pwd)/target/pyo3-config.txt"
mkdir -p target
printf 'export PYO3_PYTHON=%s\n' "'$python'"
if "$python" -I - "$config" <<'END'
import os, re, shutil, subprocess, sys, sysconfig, tempfile
variable = sysconfig.get_config_var
config = sys.argv[1]
archive = os.path.join(variable("LIBPL") or "", variable("LIBRARY") or "")
with open("/proc/self/maps") as maps:
    is_shared = "libpython" in maps.read()
if is_shared or not os.path.isfile(archive):
    sys.exit(1)
flags = " ".join(variable(key) or "" for key in ("MODLIBS", "LIBS", "SYSLIBS")).split()
# Parts that were left in the directory where this CPython was built.
missing = {os.path.basename(flag) for flag in flags if flag.endswith(".a") and not os.path.isfile(flag)}

def with_sha2():
    home, source = os.path.join(os.path.dirname(config), "python"), os.path.abspath("tools/sha2module.c")
    copy = os.path.join(home, os.path.basename(archive))
    if not os.path.isfile(copy) or os.path.getmtime(copy) < max(map(os.path.getmtime, (archive, source))):
        os.makedirs(home, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as workshop:
            # By the name of the object it takes the place of.
            compiled, part = (os.path.join(workshop, name) for name in ("sha2module.o", os.path.basename(archive)))
            subprocess.run(["cc", "-O2", "-I", sysconfig.get_path("include"), "-c", source, "-o", compiled], check=True)
            shutil.copyfile(archive, part)
            subprocess.run(["ar", "r", part, compiled], check=True)
            os.replace(part, copy)
    return copy

if missing == {"libHacl_Hash_SHA2.a"}:
    archive = with_sha2()
elif missing:
    sys.exit(1)
name = re.fullmatch(r"lib(python.+)\.a", os.path.basename(archive)).group(1)
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
    with open(config) as old:
        unchanged = old.read() == text
except OSError:
    unchanged = False
if not unchanged:  # cargo rebuilds when the file's time changes
    with open(config, "w") as new:
        new.write(text)
END
then
    printf 'export PYO3_CONFIG_FILE=%s\n' "'$config'"
fi
