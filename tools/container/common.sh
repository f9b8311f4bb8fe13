# shellcheck shell=bash
# Sourced by the scripts beside it: where they keep things, and the two or three steps they share.
# Nothing is kept in the repository, and no address of a package mirror is written in it: every
# address is read, at run time, from this machine's own configuration.

set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${MAYFLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mayfly}

# The release whose packages the image is built from. The Dockerfile says it by number, apt by name.
debian_suite=trixie

engine_directory=$cache/engine
engine_host=unix://$engine_directory/docker.sock

# Progress goes to standard error, so that a script's standard output is only its answer.
say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { say "$*"; exit 1; }

# Installs Debian packages; quiet unless it fails.
install_packages() {
    [ "$(id -u)" = 0 ] || die "missing here; as root: apt-get install --no-install-recommends $*"
    say "installing $*"
    mkdir -p "$cache"
    # Another apt-get may be at work on the same machine: wait for it instead of failing.
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    {
        DEBIAN_FRONTEND=noninteractive "${apt[@]}" update &&
        DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes --no-install-recommends "$@"
    } >"$cache/apt.log" 2>&1 || { tail -n 20 "$cache/apt.log" >&2; die "apt-get could not install $*"; }
}

# The same, unless every named command is already there.
# usage: install_unless_present "command command" package...
install_unless_present() {
    local commands=$1 command
    shift
    for command in $commands; do
        # An ordinary user's PATH often leaves out where Debian puts daemons.
        if ! PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null; then
            install_packages "$@"
            return
        fi
    done
}

# The image name on the Dockerfile's FROM lines, read from the Dockerfile so that it is said once.
base_image_name() {
    local name
    name=$(sed -n 's/^ARG BASE=\(.*\)$/\1/p' "$repository/Dockerfile")
    [ -n "$name" ] || die "Dockerfile has no line ARG BASE=…"
    printf '%s\n' "$name"
}

# The docker client, talking to DOCKER_HOST if that is set and else to the engine that engine.sh starts.
docker() { DOCKER_HOST=${DOCKER_HOST:-$engine_host} command docker "$@"; }

# Runs a command while there is an engine: the one of DOCKER_HOST, or our own, which is left as it was found.
with_engine() {
    local engine=$repository/tools/container/engine.sh own=no status=0
    if [ -z "${DOCKER_HOST:-}" ] && ! "$engine" status >/dev/null 2>&1; then
        own=yes
        "$engine" start >/dev/null
    fi
    "$@" || status=$?
    [ $own = no ] || "$engine" stop >&2
    return $status
}

on_debian() { [ -r /etc/os-release ] && [ "$(. /etc/os-release && printf '%s' "$ID")" = debian ]; }

# This machine's Debian release by name; the address rewriting below only makes sense on Debian.
machine_suite() {
    on_debian || die "this needs Debian's apt sources; on another system use the published image and packages"
    # shellcheck source=/dev/null
    (. /etc/os-release && printf '%s\n' "$VERSION_CODENAME")
}

# Writes this machine's apt sources, renamed to another release, into a directory, with the few apt
# settings (proxies, clock checks) without which those sources may not answer.
# usage: write_apt_sources SOURCES_DIRECTORY SETTINGS_FILE [RELEASE], which is $debian_suite unless given
write_apt_sources() {
    local suite file wanted=${3:-$debian_suite}
    suite=$(machine_suite)
    mkdir -p "$1"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        # Only files that speak of the machine's release: a vendor's repository has no such suite.
        if [ ! -f "$file" ] || ! grep -qw "$suite" "$file"; then
            continue
        fi
        sed "s/\\b$suite\\b/$wanted/g" "$file" >"$1/$(basename "$file")"
    done
    [ -n "$(ls -A "$1")" ] || die "no apt source here names $suite"
    apt-config dump | grep -E '^Acquire::(Check-|Retries|http|https|ForceIPv)' >"$2" || true
}

# Writes DIRECTORY/apt.conf, for use as APT_CONFIG: an apt that knows nothing as installed, and has lists and caches of its own, so
# that the machine's never hears of another release or architecture. Reads the package lists. The first architecture is that of a
# package whose name says none.
# usage: make_private_apt DIRECTORY RELEASE ARCHITECTURE...
make_private_apt() {
    local directory=$1 release=$2
    shift 2
    mkdir -p "$directory"/{lists/partial,cache/archives/partial}
    : >"$directory/status"
    write_apt_sources "$directory/sources" "$directory/machine.conf" "$release"
    cat >"$directory/apt.conf" - "$directory/machine.conf" <<SETTINGS
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$directory/sources";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Status "$directory/status";
Dir::State::Lists "$directory/lists";
Dir::Cache "$directory/cache";
APT::Architecture "$1";
APT::Architectures { $(printf '"%s"; ' "$@")};
APT::Install-Recommends "false";
// The user that apt would fetch as can't enter a directory under /root.
APT::Sandbox::User "root";
SETTINGS
    APT_CONFIG=$directory/apt.conf apt-get -qq update >&2
}
