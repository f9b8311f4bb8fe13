#!/usr/bin/env bash
# A stand-in for the Dockerfile's base image, where none can be pulled: base_image.sh [--fresh]
#
# Makes a small Debian with debootstrap, from the package mirror that this machine itself uses, and
# imports it under the name on the Dockerfile's BASE line. The image is for tests on this machine
# only: it carries the machine's own package configuration (apt sources, CA certificates, pip and
# cargo settings), so that `docker build` inside it reaches what the machine reaches. Nothing is done
# when the engine already has an image of that name; --fresh makes it anew. On a machine that is not
# Debian the image itself is pulled.

. "$(dirname "$0")/common.sh"

archive=$cache/base/$debian_suite-$(dpkg --print-architecture).tar

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
    write_apt_sources "$cache/base/sources" "$cache/base/apt.conf"
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
    debootstrap --variant=minbase --cache-dir="$cache/base/packages" "$debian_suite" "$tree" "$mirror" \
        >"$cache/base/debootstrap.log" 2>&1 || { tail -n 20 "$cache/base/debootstrap.log" >&2; die "debootstrap failed"; }
    # debootstrap unpacks the first packages without dpkg, hence without its settings.
    find "$tree/usr/share/doc" -type f ! -name copyright -delete
    rm -rf "$tree"/usr/share/{groff,info,lintian,locale,man}/*
    rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/log/*
    copy_package_settings "$tree"
}

name=$(base_image_name)
if [ "${1:-}" != --fresh ] && docker image inspect "$name" >/dev/null 2>&1; then
    say "$name is there"
    exit
fi
if ! on_debian; then
    docker pull --quiet "$name" >&2
    exit
fi
if [ "${1:-}" = --fresh ] || [ ! -f "$archive" ]; then
    [ "$(id -u)" = 0 ] || die "debootstrap needs root"
    install_unless_present debootstrap debootstrap
    # Settings may hold a registry's address or password: for this user's eyes.
    umask 022
    mkdir -p "$cache/base"
    chmod 700 "$cache/base"
    tree=$(mktemp -d "$cache/base/tree.XXXXXX")
    trap 'rm -rf "$tree"' EXIT
    chmod 755 "$tree"
    say "making Debian $debian_suite"
    make_tree "$tree"
    tar --directory "$tree" --numeric-owner --create --file "$archive.part" .
    mv "$archive.part" "$archive"
fi
docker import --change 'CMD ["bash"]' --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    "$archive" "$name" >/dev/null
say "$name, $(docker image inspect --format '{{.Size}}' "$name" | numfmt --to=si)B"
