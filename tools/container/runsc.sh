#!/usr/bin/env bash
# gVisor, from Debian's own package, as Docker runtime `runsc`: runsc.sh
#
# Debian has packaged gVisor since release 13; its binary is self-contained and runs on older releases.
# The package is fetched with apt lists of its own, unpacked beside the engine and never installed.
# On a machine that is not Debian it is the base image that fetches it. Prints the path of the binary.
# The engine of engine.sh learns of the runtime at once if it runs, and else when it starts; another
# engine is left as it is, and must know the runtime already.

. "$(dirname "$0")/common.sh"

directory=$cache/runsc
binary=$directory/root/usr/bin/runsc

if [ "${DOCKER_HOST:-$engine_host}" != "$engine_host" ]; then
    docker info --format '{{range $name, $_ := .Runtimes}}{{println $name}}{{end}}' | grep -qx runsc \
        || die "the engine at $DOCKER_HOST has no runtime runsc: install gVisor there, or unset DOCKER_HOST"
    exit
fi

if [ ! -x "$binary" ] && ! on_debian; then
    mkdir -p "$directory/root"
    say "fetching runsc from Debian $debian_suite"
    docker run --rm --network host "$(base_image_name)" \
        sh -c 'apt-get -qq update >/dev/null && cd /tmp && apt-get -qq download runsc >/dev/null && cat runsc_*.deb' >"$directory/runsc_part" 2>/dev/null
    dpkg-deb --extract "$directory/runsc_part" "$directory/root"
    rm "$directory/runsc_part"
elif [ ! -x "$binary" ]; then
    say "fetching runsc from Debian $debian_suite"
    make_private_apt "$directory" "$debian_suite" "$(dpkg --print-architecture)"
    rm -f "$directory"/runsc_*.deb
    (cd "$directory" && APT_CONFIG=$directory/apt.conf apt-get -qq download runsc >&2)
    dpkg-deb --extract "$directory"/runsc_*.deb "$directory/root"
fi
[ -x "$binary" ] || die "the package holds no usr/bin/runsc"

# systrap needs no KVM. The engine's cgroups may be of either version, and limits are not what gVisor
# is tested for here. `host` is the *container's* network namespace, seen through gVisor's socket
# calls: Debian's runsc takes every namespace of a recent kernel (seen: 6.18) for the machine's own and
# refuses to copy its interfaces, which is what the default would do.
settings=$engine_directory/daemon.json
mkdir -p "$engine_directory"
cat >"$settings.new" <<JSON
{
  "runtimes": {
    "runsc": {
      "path": "$binary",
      "runtimeArgs": ["--platform=systrap", "--network=host", "--ignore-cgroups"]
    }
  }
}
JSON
if ! cmp -s "$settings.new" "$settings"; then
    mv "$settings.new" "$settings"
    # dockerd reads its runtimes again on this signal.
    if pid=$(cat "$engine_directory/dockerd.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill -HUP "$pid"
    fi
else
    rm "$settings.new"
fi
# Read to its end: a pipe closed early would end it by a signal, and this script with it.
"$binary" --version | sed -n 1p >&2
printf '%s\n' "$binary"
