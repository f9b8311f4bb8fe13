#!/bin/sh
# Prints, for `eval`, how cargo is to embed CPython: PYO3_PYTHON, the one that tools/python.sh chose, and, where that one is
# itself linked with its interpreter and the archive is at hand, PYO3_CONFIG_FILE, which has Mayfly linked the same way.
# Calls inside the interpreter then go straight instead of through the tables of a shared library: 10 to 25 % less time in
# pure Python code.
#
# Debian 13's archive lacks one of its parts, the code behind the module _sha2. There a copy of it is made, in which that
# module has its functions from OpenSSL, as hashlib has them everywhere (tools/sha2module.c).
#
# Where MAYFLY_SYSROOT names the root directory of an aarch64 system, it is the CPython there that is to be linked with; CC and
# AR then say what compiles for it. tools/check_aarch64.sh does this.
#
# What it makes is in cargo's target directory. Where it fails it prints nothing and ends with 1: no other way to link is tried.
set -eu
cd "$(dirname "$0")/.."
python=$(tools/python.sh)
target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$(pwd)/$target ;;
esac
folder=$target${MAYFLY_SYSROOT:+/aarch64}
config=$folder/pyo3-config.txt
mkdir -p "$folder"
status=0
"$python" -I - "$config" <<'END' || status=$?
import glob, os, re, runpy, shlex, shutil, subprocess, sys, sysconfig, tempfile
config = sys.argv[1]
AS_SHARED = 3  # the status that says so to the shell below
root = os.environ.get("MAYFLY_SYSROOT", "")
if root:
    # What sysconfig itself reads there.
    (facts,) = glob.glob(root + "/usr/lib/python3.*/_sysconfigdata__aarch64-linux-gnu.py")
    variable = runpy.run_path(facts)["build_time_vars"].get
    is_shared = False
else:
    variable = sysconfig.get_config_var
    with open("/proc/self/maps") as maps:
        is_shared = "libpython" in maps.read()
archive = root + os.path.join(variable("LIBPL") or "", variable("LIBRARY") or "")
if is_shared or not os.path.isfile(archive):
    sys.exit(AS_SHARED)
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
            compiler, archiver = (shlex.split(os.environ.get(name, usual)) for name, usual in (("CC", "cc"), ("AR", "ar")))
            headers = root + variable("INCLUDEPY")
            subprocess.run([*compiler, "-O2", "-I", headers, "-c", source, "-o", compiled], check=True)
            shutil.copyfile(archive, part)
            subprocess.run([*archiver, "r", part, compiled], check=True)
            os.replace(part, copy)
    return copy

if missing == {"libHacl_Hash_SHA2.a"}:
    archive = with_sha2()
elif missing:
    sys.exit(AS_SHARED)
name = re.fullmatch(r"lib(python.+)\.a", os.path.basename(archive)).group(1)
libraries = dict.fromkeys(flag[2:] for flag in flags if flag.startswith("-l"))
lines = [
    "implementation=CPython",
    f"version={variable('VERSION')}",
    "shared=false",
    f"lib_name={name}",
    f"lib_dir={os.path.dirname(archive)}",
    *([] if root else [f"executable={sys.executable}"]),
    f"pointer_width={variable('SIZEOF_VOID_P') * 8}",
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
case $status in
    0 | 3) ;;
    # Another way to link would be another program than was asked for.
    *) echo "tools/python_env.sh: how Mayfly is to be linked with $python was not found out, for the reason above." >&2; exit 1 ;;
esac
printf 'export PYO3_PYTHON=%s\n' "'$python'"
[ "$status" != 0 ] || printf 'export PYO3_CONFIG_FILE=%s\n' "'$config'"
