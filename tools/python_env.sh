#!/bin/sh
# Prints, for `eval`, how cargo is to embed CPython: PYO3_PYTHON, the one that tools/python.sh chose, and PYO3_CONFIG_FILE, which
# says how Mayfly is linked with it. Where that CPython is itself linked with its interpreter's archive and the archive is at hand,
# Mayfly is linked the same way: calls inside the interpreter then go straight instead of through the tables of a shared library,
# which takes 10 to 25 % off pure Python code. Elsewhere it is linked with the shared library.
#
# The file is pyo3-config.txt in cargo's target directory. `.cargo/config.toml` names it too, so cargo without make and an editor's
# language server build for the same CPython as the jail root was made for.
#
# Debian 13's archive lacks one of its parts, the code behind the module _sha2. There a copy of it is made, in which that
# module has its functions from OpenSSL, as hashlib has them everywhere (tools/sha2module.c).
#
# Where MAYFLY_SYSROOT names the root directory of an aarch64 system, it is the CPython there that is to be linked with; CC and
# AR then say what compiles for it. tools/check_aarch64.sh does this.
#
# Where it fails it prints nothing and ends with 1: no other way to link is tried.
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
# Where .cargo/config.toml says that it is, if the target directory is elsewhere.
named=$config
[ -n "${MAYFLY_SYSROOT:-}" ] || { mkdir -p target && named=$(pwd)/target/pyo3-config.txt; }
status=0
"$python" -I - "$config" "$named" <<'END' || status=$?
import glob, os, re, runpy, shlex, shutil, subprocess, sys, sysconfig, tempfile
config, *_ = configs = sys.argv[1:]
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

def with_archive(archive):
    name = re.fullmatch(r"lib(python.+)\.a", os.path.basename(archive)).group(1)
    libraries = dict.fromkeys(flag[2:] for flag in flags if flag.startswith("-l"))
    return [
        "shared=false",
        f"lib_name={name}",
        f"lib_dir={os.path.dirname(archive)}",
        "suppress_build_script_link_lines=true",
        f"extra_build_script_line=cargo:rustc-link-search=native={os.path.dirname(archive)}",
        # All of it: extension modules use what Mayfly itself does not.
        f"extra_build_script_line=cargo:rustc-link-lib=static:+whole-archive,-bundle={name}",
        *(f"extra_build_script_line=cargo:rustc-link-lib=dylib={library}" for library in libraries),
    ]

def with_library():
    """As PyO3 itself would find it."""
    is_debug = variable("Py_DEBUG") == 1
    return [
        f"shared={'true' if variable('Py_ENABLE_SHARED') else 'false'}",
        f"lib_name=python{variable('LDVERSION')}",
        f"lib_dir={variable('LIBDIR')}",
        *(["build_flags=Py_DEBUG,Py_REF_DEBUG"] if is_debug else []),
    ]

if is_shared or not os.path.isfile(archive) or missing - {"libHacl_Hash_SHA2.a"}:
    if root:
        sys.exit(f"{archive} is not there, or is not whole")
    linked = with_library()
else:
    linked = with_archive(with_sha2() if missing else archive)
lines = [
    "implementation=CPython",
    f"version={variable('VERSION')}",
    *([] if root else [f"executable={sys.executable}"]),
    f"pointer_width={variable('SIZEOF_VOID_P') * 8}",
    *linked,
]
text = "\n".join(lines) + "\n"
for path in dict.fromkeys(configs):
    try:
        with open(path) as old:
            unchanged = old.read() == text
    except OSError:
        unchanged = False
    if not unchanged:  # cargo rebuilds when the file's time changes
        with open(path + ".new", "w") as new:
            new.write(text)
        os.replace(path + ".new", path)
END
# Another way to link would be another program than was asked for.
[ "$status" = 0 ] || { echo "tools/python_env.sh: how Mayfly is to be linked with $python was not found out, for the reason above." >&2; exit 1; }
printf 'export PYO3_PYTHON=%s\n' "'$python'"
printf 'export PYO3_CONFIG_FILE=%s\n' "'$config'"
