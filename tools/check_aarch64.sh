#!/usr/bin/env bash
# Compiles and links Mayfly for aarch64 on x86_64, and runs of it what an emulator can: check_aarch64.sh
#
# Everything that `cargo test` would build, warnings being errors, is linked with the CPython and the C library of the image's
# Debian, as `docker build` on aarch64 links it. qemu then runs `mayfly --version`, the unit tests, and an interpreter with one child
# (examples/warm.rs). It has no seccomp and makes no namespaces: that the jail holds there, only a machine of that kind can show.
#
# The compiler with aarch64's standard library, the cross linker and qemu are of this machine's Debian. All of it is fetched with
# package lists of its own, unpacked in the cache and never installed. On a machine that is not Debian the base image does all this.

. "$(dirname "$0")/container/common.sh"

target=aarch64-unknown-linux-gnu
directory=$cache/aarch64
tools=$directory/tools
sysroot=$directory/sysroot
cd "$repository"

# What is compiled with, for x86_64: with all that it depends on, and, since a compiler wants a native linker, which is there, alone.
with_dependencies="gcc-aarch64-linux-gnu libstd-rust-web-dev qemu-user-static"
alone="rustc-web libstd-rust-web-dev:arm64"
# What is linked with, for aarch64.
linked="libpython3-dev libpython3-stdlib python3-minimal"

# Unpacks Debian packages, given as files, below a directory.
unpack() {
    local root=$1 package
    shift
    mkdir -p "$root/usr/lib"
    # Some packages still say /lib.
    ln -s usr/lib "$root/lib"
    for package in "$@"; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$root" --keep-directory-symlink --no-same-owner --exclude ./usr/share
        rm "$package"
    done
    # All the processors that nobody asked for are a quarter of a gigabyte.
    find "$root" -path '*/bin/qemu-*' ! -name 'qemu-aarch64*' -delete
}

# Packages of a release with all that they depend on, and others alone.
# usage: fetch ROOT RELEASE "ARCHITECTURES" "PACKAGES" "PACKAGES ALONE"
fetch() {
    local root=$1 release=$2 apt=$1.apt
    rm -rf "$root" "$root.part" "$apt"
    say "fetching $4 $5 from Debian $release"
    # shellcheck disable=SC2086 # lists of names
    make_private_apt "$apt" "$release" $3
    (
        cd "$apt/cache/archives"
        export APT_CONFIG=$apt/apt.conf
        # shellcheck disable=SC2086
        apt-get -qq --yes --download-only install $4 >&2
        # shellcheck disable=SC2086
        [ -z "$5" ] || apt-get -qq download $5 >&2
        # The machine's own loader wants the machine's own C library.
        [ "$root" != "$tools" ] || rm -f libc6_*.deb
    )
    unpack "$root.part" "$apt"/cache/archives/*.deb
    rm -rf "$apt"
    mv "$root.part" "$root"
}

emulate() { "$tools/usr/bin/qemu-aarch64-static" -L "$sysroot" "$@"; }

# What is fetched once, and again when this list changes, or the machine's release, or which compiler is new enough.
fetch_all() {
    local list
    list="$with_dependencies $alone $linked $debian_suite $(machine_suite) $(grep '^rust-version' Cargo.toml)"
    [ "$(cat "$directory/list" 2>/dev/null)" != "$list" ] || return 0
    mkdir -p "$directory"
    fetch "$tools" "$(machine_suite)" "amd64 arm64" "$with_dependencies" "$alone"
    fetch "$sysroot" "$debian_suite" arm64 "$linked" ""
    # Leaves compiled files beside the sources: the emulated interpreter would need most of a minute for them, each time.
    emulate "$sysroot"/usr/bin/python3.*[0-9] -I -c 'import csv, ctypes, decimal, inspect, random, selectors, statistics, threading, typing'
    printf '%s' "$list" >"$directory/list"
}

# The same in the base image, which is Debian.
in_base_image() {
    "$repository/tools/container/base_image.sh"
    mkdir -p "$directory"
    docker run --rm --network host --volume "$repository:/mayfly" --volume "$directory:/root/.cache/mayfly/aarch64" \
        "$(base_image_name)" sh -c 'cd /mayfly && tools/setup.sh build && tools/check_aarch64.sh'
}

if [ "$(uname -m)" != x86_64 ]; then
    say "this is for x86_64; a machine of another kind checks what it builds by building it"
    exit
fi
if ! on_debian; then
    with_engine in_base_image
    exit
fi
fetch_all

# What the native build was told.
unset PYO3_CONFIG_FILE CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
export LD_LIBRARY_PATH=$tools/usr/lib/x86_64-linux-gnu
cross=$tools/usr/bin/aarch64-linux-gnu
environment=$(MAYFLY_SYSROOT=$sysroot CC="$cross-gcc --sysroot=$sysroot" AR=$cross-ar tools/python_env.sh)
eval "$environment"
# Apart from the other builds, which another compiler makes.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/aarch64 CARGO_BUILD_TARGET=$target CARGO_INCREMENTAL=0
export RUSTC=$tools/usr/bin/rustc RUSTFLAGS="-D warnings -C link-arg=--sysroot=$sysroot"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$cross-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$tools/usr/bin/qemu-aarch64-static -L $sysroot"
# Half the time: tests and program share what they depend on, and nobody will debug them.
export CARGO_PROFILE_DEV_PANIC=unwind CARGO_PROFILE_DEV_DEBUG=0

"$RUSTC" --version >&2
cargo build --locked
cargo test --locked --workspace --all-targets --features fault-injection --no-run
cargo run --quiet --locked -- --version
cargo test --quiet --locked --features fault-injection --lib
cargo run --quiet --locked --features fault-injection --example warm -- "$(cd "$sysroot" && printf '/%s' usr/lib/python3.*[0-9])"
