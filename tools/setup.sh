#!/bin/sh
# Installs what is missing on this machine, and says what it installs. With nothing missing it does nothing.
#
#   tools/setup.sh build   what the release build needs: a C linker, CPython with its header files, Rust 1.88 or newer
#   tools/setup.sh test    that, and what the tests need besides: strace, where they may use it
#   tools/setup.sh gate    that, and what .ci/run needs besides: rustfmt, clippy, cargo-deny
#
# Debian 12 and 13 have all of it, the compiler in their security archive. As root, or with sudo, the packages are
# installed, all at once; otherwise the one command to run is printed and nothing is changed. The jail's Python packages are not installed
# on the machine: tools/jail_root.py puts them into the build directory.
set -eu

purpose=${1:-build}
rust_needed=88 # the minor version; rust-version in Cargo.toml says the same
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PATH
here=$(dirname "$0")

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$@"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# ---- Debian packages ----------------------------------------------------------------------------------------------

# Those of the given packages that are not installed.
missing_of() {
    present=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
    for package in "$@"; do
        case "
$present
" in
            *"
$package installed
"*) ;;
            *) printf ' %s' "$package" ;;
        esac
    done
}

refreshed=no
refresh_lists() {
    [ "$refreshed" = no ] || return 0
    refreshed=yes
    say "refreshing the package lists (apt-get update)"
    as_root apt-get -qq update >&2 || say "apt-get update had errors; going on with the lists there are"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Root, or a sudo that works without a password, or one that can ask for it.
may_install() {
    [ "$(id -u)" = 0 ] || { has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

install() {
    has apt-get || stop "this is not Debian: install by hand what Debian calls: $*"
    may_install || stop "these Debian packages are missing: $*
setup: This user is not root and has no sudo, so please have them installed, by this command:
setup:     apt-get update && apt-get install --no-install-recommends $*"
    refresh_lists
    say "installing Debian packages: $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2 ||
        stop "apt-get could not install: $*"
}

wanted="build-essential ca-certificates"
# A Python of the user's own brings its header files along; tools/python.sh checks that it does.
[ -n "${MAYFLY_PYTHON:-}" ] || wanted="$wanted python3 python3-dev python3-venv"
# tests/ceilings.rs counts system calls with it, as root: who is neither root nor has sudo has no use for it.
if [ "$purpose" != build ] && may_install; then wanted="$wanted strace"; fi
missing=""
if has dpkg-query; then
    missing=$(missing_of $wanted)
else
    has cc || stop "a C compiler is missing, and this is not Debian: install it by hand"
fi

# ---- Rust ---------------------------------------------------------------------------------------------------------

# The minor version of the compiler on PATH; 0 when there is none.
rust_minor() {
    minor=0
    if has cargo && has rustc; then
        minor=$(rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    fi
    echo "${minor:-0}"
}

# The minor version that apt would install of a package; 0 when it has none.
candidate_minor() {
    minor=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: 1\.\([0-9]*\)\..*/\1/p')
    echo "${minor:-0}"
}

# What is added to the names of Debian's Rust packages. Debian's own compiler may be too old; the packages named -web are the newer
# one that its security archive keeps for building browsers, and they take the older one's place.
suffix=""
if [ "$(rust_minor)" -lt "$rust_needed" ]; then
    found=$(rustc --version 2>/dev/null || echo "none")
    say "Rust 1.$rust_needed or newer is needed, found: $found"
    has apt-get || stop "this is not Debian: install Rust 1.$rust_needed or newer by hand, for example with rustup"
    ! may_install || refresh_lists
    if [ "$(candidate_minor rustc)" -ge "$rust_needed" ]; then
        suffix=""
    elif [ "$(candidate_minor rustc-web)" -ge "$rust_needed" ]; then
        suffix=-web
    elif ! may_install; then
        # The command that is printed fetches the package lists first; Debian 12 and 13 have it by this name.
        suffix=-web
    else
        stop "the package lists have no Rust 1.$rust_needed or newer: add Debian's security archive, or install it with rustup, then run this again"
    fi
    missing="$missing cargo$suffix rustc$suffix"
elif has dpkg-query && [ -z "$(missing_of rustc-web)" ]; then
    suffix=-web
fi

# The gate's formatter and lints; rustup has them as components.
if [ "$purpose" = gate ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    if has rustup; then
        say "installing the rustup components rustfmt and clippy"
        rustup component add rustfmt clippy >&2 || stop "rustup could not install rustfmt and clippy"
    else
        missing="$missing rustfmt$suffix rust$suffix-clippy"
    fi
fi

# ---- All at once --------------------------------------------------------------------------------------------------

[ -z "$missing" ] || install $missing
hash -r
# Says in one sentence what is wrong when no Python fits.
"$here/python.sh" >/dev/null
[ "$(rust_minor)" -ge "$rust_needed" ] ||
    stop "Rust is installed, but $(command -v rustc) is still older than 1.$rust_needed: remove it or put it last on PATH"

[ "$purpose" = gate ] || exit 0

# ---- What Debian does not have --------------------------------------------------------------------------------------

if ! cargo deny --version >/dev/null 2>&1; then
    # Debug builds compile in half the time, and the check takes no time.
    version=0.20.2
    say "installing cargo-deny $version from crates.io, which takes some minutes"
    cargo install --quiet --locked --debug "cargo-deny@$version" >&2 || stop "cargo could not install cargo-deny $version"
fi
