#!/usr/bin/env bash
# What a virtual machine with AppArmor is made of: vm.sh
#
# Debian's kernel, a busybox that needs no library, and AppArmor's parser with the one library it needs, in a root of its own.
# They are fetched with package lists of their own, unpacked in the cache and never installed; on a machine that is not Debian it is
# the base image that fetches them. qemu is installed if it is missing. Prints the directory of `vmlinuz`, `busybox` and `apparmor`.

. "$(dirname "$0")/container/common.sh"

# The cloud kernel is a third of the other, has AppArmor too, and drivers for more than this needs.
kernel=linux-image-cloud-amd64
packages="apparmor libc6 busybox-static"
directory=$cache/vm

# Debian packages, into the current directory; the first is a name that stands for the newest kernel.
# shellcheck disable=SC2016 # expanded by the shell that runs it
download='apt-get -qq download $(apt-cache depends "$1" | sed -n "s/^ *Depends: //p") $2'

fetch() {
    if on_debian; then
        make_private_apt "$directory.part" "$debian_suite" amd64
        (cd "$directory.part/cache" && APT_CONFIG=$directory.part/apt.conf sh -c "$download" sh "$kernel" "$packages" >&2)
    else
        with_engine fetch_in_base_image
    fi
}

fetch_in_base_image() {
    mkdir -p "$directory.part/cache"
    "$repository/tools/container/base_image.sh" >&2
    docker run --rm --network host "$(base_image_name)" \
        sh -c "apt-get -qq update >&2 && mkdir /debs && cd /debs && { $download; } >&2 && tar --create ." sh "$kernel" "$packages" \
        | tar --extract --no-same-owner --directory "$directory.part/cache"
}

[ "$(uname -m)" = x86_64 ] || die "this is for x86_64"
install_unless_present qemu-system-x86_64 qemu-system-x86
if [ "$(cat "$directory/list" 2>/dev/null)" != "$debian_suite $kernel $packages" ]; then
    rm -rf "$directory" "$directory.part"
    say "fetching $kernel $packages from Debian $debian_suite"
    fetch
    mkdir -p "$directory.part"/{other,apparmor/usr/lib,apparmor/usr/lib64,apparmor/proc,apparmor/sys}
    # Some packages still say /lib.
    ln -s usr/lib "$directory.part/apparmor/lib"
    ln -s usr/lib64 "$directory.part/apparmor/lib64"
    for package in "$directory.part"/cache/*.deb; do
        case $(basename "$package") in
            apparmor_* | libc6_*) root=apparmor ;;
            *) root=other ;;
        esac
        dpkg-deb --fsys-tarfile "$package" \
            | tar --extract --directory "$directory.part/$root" --keep-directory-symlink --no-same-owner --exclude './usr/share/[dlm]*'
    done
    mkdir "$directory"
    mv "$directory.part"/other/boot/vmlinuz-* "$directory/vmlinuz"
    mv "$directory.part/other/usr/bin/busybox" "$directory.part/apparmor" "$directory"
    rm -rf "$directory.part"
    printf '%s' "$debian_suite $kernel $packages" >"$directory/list"
fi
printf '%s\n' "$directory"
