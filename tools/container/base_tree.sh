#!/usr/bin/env bash
# A small Debian as an archive of its root directory, made with debootstrap: base_tree.sh RELEASE [--fresh]
#
# For tests on this machine only: it carries the machine's own package configuration (apt sources, CA certificates, pip and cargo
# settings), so that whoever works in it reaches what the machine reaches. Made once and kept; --fresh makes it anew. Needs root,
# and to run on Debian. Prints the archive's path.

. "$(dirname "$0")/common.sh"

release=$1
archive=$cache/base/$release-$(dpkg --print-architecture).tar

# What Docker's own slim images leave out, so that sizes measured on the stand-in mean something.
# dpkg keeps to this list for every package installed later, too.
write_dpkg_settings() {
    cat >"$1" <<'SETTINGS'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
SETTINGS
}

# The machine's package configuration, into the tree.
copy_package_settings() {
    local tree=$1 file
    rm -rf "$cache/base/sources"
    write_apt_sources "$cache/base/sources" "$cache/base/apt.conf" "$release"
    rm -f "$tree"/etc/apt/sources.list
    install -m 644 "$cache"/base/sources/* -t "$tree/etc/apt/sources.list.d"
    install -m 644 "$cache/base/apt.conf" "$tree/etc/apt/apt.conf.d/90machine"
    printf 'Acquire::Languages "none";\n' >"$tree/etc/apt/apt.conf.d/90small"

    # Certificates both as the finished bundle and as sources of it: installing ca-certificates in the
    # image makes the bundle again, from the second.
    mkdir -p "$tree/etc/ssl/certs" "$tree/usr/local/share/ca-certificates"
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
        install -m 644 /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
    fi
    for file in /usr/local/share/ca-certificates/*.crt; do
        [ ! -f "$file" ] || install -m 644 "$file" -t "$tree/usr/local/share/ca-certificates"
    done

    # pip: the machine's file, or the same said in the environment. Paths on this machine
    # (find-links, client certificates) mean nothing in the image.
    {
        printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n'
        python3 -m pip config list 2>/dev/null \
            | sed -nE "s/^[^=]*\.(index-url|extra-index-url|trusted-host|proxy|default-timeout)='(.*)'$/\1 = \2/p" | sort -u
    } >"$tree/etc/pip.conf"

    for file in "${CARGO_HOME:-$HOME/.cargo}/config.toml" "${CARGO_HOME:-$HOME/.cargo}/config"; do
        if [ -f "$file" ]; then
            install -m 644 -D "$file" "$tree/root/.cargo/config.toml"
            break
        fi
    done
}

make_tree() {
    local tree=$1 mirror suite
    suite=$(machine_suite)
    # The address from which the machine gets the release itself (not its updates), as apt sees it.
    # shellcheck disable=SC2016 # apt-get expands these names, not the shell
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' \
        | awk -v suite="$suite" '$2 == suite && $3 == "main" { print $1; exit }')
    [ -n "$mirror" ] || die "apt has no source for $suite main"
    mkdir -p "$cache/base/packages" "$tree/etc/dpkg/dpkg.cfg.d"
    write_dpkg_settings "$tree/etc/dpkg/dpkg.cfg.d/slim"
    debootstrap --variant=minbase --cache-dir="$cache/base/packages" "$release" "$tree" "$mirror" \
        >"$cache/base/debootstrap.log" 2>&1 || { tail -n 20 "$cache/base/debootstrap.log" >&2; die "debootstrap failed"; }
    # debootstrap unpacks the first packages without dpkg, hence without its settings.
    find "$tree/usr/share/doc" -type f ! -name copyright -delete
    rm -rf "$tree"/usr/share/{groff,info,lintian,locale,man}/*
    rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/log/*
    copy_package_settings "$tree"
}

if [ "${2:-}" = --fresh ] || [ ! -f "$archive" ]; then
    [ "$(id -u)" = 0 ] || die "debootstrap needs root"
    install_unless_present debootstrap debootstrap
    # Settings may hold a registry's address or password: for this user's eyes.
    umask 022
    mkdir -p "$cache/base"
    chmod 700 "$cache/base"
    tree=$(mktemp -d "$cache/base/tree.XXXXXX")
    trap 'rm -rf "$tree"' EXIT
    chmod 755 "$tree"
    say "making Debian $release"
    make_tree "$tree"
    tar --directory "$tree" --numeric-owner --create --file "$archive.part" .
    mv "$archive.part" "$archive"
fi
printf '%s\n' "$archive"
