#!/usr/bin/env bash
# `make test` on a machine with nothing on it: tests/bare/run.sh [RELEASE [USER]]
#
# A bare Debian (tools/container/base_tree.sh) with git and make alone, in which a clone called mayfly is tested from its first
# command on. RELEASE is bookworm or trixie, USER root or ordinary; unless they are named, the ones that this machine does not test
# elsewhere: the other release, and not root. An ordinary user there has no sudo: the one command that setup asks for is run by root
# as it stands, and after that `make test` may ask for nothing more. It may leave no file outside target/, and no process.
# MAYFLY_BARE_TESTS is passed on as TESTS.
#
# All of it runs in namespaces of its own, which end with this script. The system is removed; the packages that apt and the crates
# that cargo fetched are kept for the next time. Needs root, for debootstrap and the mounts.

. "$(dirname "$0")/../../tools/container/common.sh"

if ! on_debian; then
    echo "NOT CHECKED: make test on a bare machine; this needs Debian's package sources, and here is no Debian"
    exit
fi
[ "$(id -u)" = 0 ] || die "debootstrap and mounts need root"
release=${1:-$([ "$(machine_suite)" = trixie ] && echo bookworm || echo trixie)}
user=${2:-ordinary}
case $user in
    root) login=root home=/root ;;
    ordinary) login=ada home=/home/ada ;;
    *) die "USER is $user; it can be root or ordinary" ;;
esac
archive=$("$repository/tools/container/base_tree.sh" "$release")

umask 022
kept=$cache/bare/$release-$login
mkdir -p "$kept"/{archives/partial,registry}
system=$(mktemp -d "$cache/bare/system.XXXXXX")
inside=
# The namespaces' first process ends with the one that made them, and all others with the first.
trap '[ -z "$inside" ] || { kill -KILL "$inside" && wait "$inside"; } 2>/dev/null; rm -rf --one-file-system "$system"' EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$system"
tar --directory "$system" --numeric-owner --extract --file "$archive"
# Names are resolved as here.
cp -L /etc/resolv.conf /etc/hosts "$system/etc"
[ $login = root ] || chroot "$system" useradd --create-home --shell /bin/bash $login

# The commit that is checked out, with what was changed since.
git clone --quiet --no-hardlinks "$repository" "$system$home/mayfly"
(cd "$repository" && git ls-files -z --cached --others --exclude-standard \
    | while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done \
    | tar --create --null --files-from -) | tar --extract --directory "$system$home/mayfly"
mkdir -p "$system$home/.cargo/registry" "$system/var/cache/apt/archives"
[ $login = root ] || [ ! -f "$system/root/.cargo/config.toml" ] || cp "$system/root/.cargo/config.toml" "$system$home/.cargo"
[ $login = root ] || chroot "$system" chown -R $login:$login "$home"

# In new namespaces, as root: the mounts, and a root directory that is one, since no user namespace can be made in a chroot.
# shellcheck disable=SC2016 # expanded there
enter='
set -euo pipefail
mount --bind "$system" "$system"
mount --bind "$kept/archives" "$system/var/cache/apt/archives"
mount --bind "$kept/registry" "$system$home/.cargo/registry"
mount -t proc proc "$system/proc"
mount --rbind /sys "$system/sys"
mount --rbind /dev "$system/dev"
cd "$system"
mkdir .machine
pivot_root . .machine
exec chroot . bash -c "$session"
'
# Within, as root: what somebody types there.
# shellcheck disable=SC2016
session='
set -euo pipefail
umount -l /.machine
rmdir /.machine
cd "$home/mayfly"
export DEBIAN_FRONTEND=noninteractive
root() { env HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
someone() { root setpriv --reuid $login --regid $login --init-groups env HOME="$home" USER=$login PATH=/usr/local/bin:/usr/bin:/bin "$@"; }
[ $login != root ] || { someone() { root "$@"; }; }
root apt-get -qq update
root apt-get -qq install --yes --no-install-recommends git make >/dev/null
chown -R $login: "$home/.cargo"
root git config --system --add safe.directory "*"
if [ $login != root ]; then
    # Told once what is missing.
    said=$(someone make test 2>&1 </dev/null) && { echo "make test began with nothing there"; exit 1; }
    printf "%s\n" "$said"
    command=$(printf "%s\n" "$said" | sed -n "s/^setup: *\(apt-get update && apt-get install --no-install-recommends .*\)/\1/p")
    [ -n "$command" ] || { echo "no command was named"; exit 1; }
    root bash -c "${command//apt-get install/apt-get -qq install --yes}" >/dev/null
fi
files() { ls -A /tmp /var/tmp; someone git status --porcelain; }
# An orphan is a child of this shell, so what is dead is gone from the list.
processes() {
    for process in /proc/[0-9]*; do
        case $process in
            /proc/1 | /proc/$BASHPID) ;;
            *) [ ! -e $process/exe ] || tr "\0" " " <$process/cmdline || true ;;
        esac
    done
}
before=$(files)
someone make test TESTS="$TESTS"
left=$(diff <(echo "$before") <(files) || true)
[ -z "$left" ] || { printf "make test left files:\n%s\n" "$left"; exit 1; }
# What was killed last may take a moment.
for moment in {1..100}; do left=$(processes); [ -n "$left" ] || break; sleep 0.1; done
[ -z "$left" ] || { printf "make test left processes:\n%s\n" "$left"; exit 1; }
'
export system kept home login enter session TESTS=${MAYFLY_BARE_TESTS:-}
say "Debian $release, $user user"
unshare --mount --pid --fork --kill-child --propagation private bash -c "$enter" </dev/null &
inside=$!
wait "$inside" && status=0 || status=$?
inside=
exit "$status"
