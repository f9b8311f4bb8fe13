#!/usr/bin/env bash
# A Docker engine of the tests' own: engine.sh start | stop | status | host
#
# `start` installs Debian's docker.io if there is no dockerd, starts one beside whatever else runs on
# the machine, and prints the DOCKER_HOST to use. Its images, sockets, pid file and log live under the
# cache directory (MAYFLY_CACHE), its bridge is its own, and it changes no firewall rule and no sysctl:
# published ports go through docker-proxy, and containers reach nothing but this machine. Builds
# therefore use `--network host`. `stop` ends that engine by its pid and leaves the images for the
# next time.

. "$(dirname "$0")/common.sh"

pid_file=$engine_directory/dockerd.pid
log=$engine_directory/dockerd.log
bridge=mayfly0
# A network for this machine alone, out of the ranges Docker hands out by default.
bridge_network=192.168.219.1/24

# The pid of the running engine; fails when there is none. A stale pid file may name a stranger.
running_pid() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] && printf '%s\n' "$pid"
}

start() {
    if running_pid >/dev/null && DOCKER_HOST=$engine_host docker version >/dev/null 2>&1; then
        say "already running, pid $(running_pid)"
        printf '%s\n' "$engine_host"
        return
    fi
    [ "$(id -u)" = 0 ] || die "dockerd needs root; with an engine of your own, set DOCKER_HOST and skip this script"
    # 107 bytes is what a sockaddr_un holds.
    [ ${#engine_directory} -le 90 ] || die "$engine_directory is too long for a socket's address; set MAYFLY_CACHE"
    # docker.io does not start without iptables on the machine, even when told not to use it.
    install_unless_present "dockerd iptables ip" docker.io iptables iproute2
    mkdir -p "$engine_directory"
    chmod 700 "$engine_directory"
    rm -f "$pid_file"
    [ -f "$engine_directory/daemon.json" ] || printf '{}\n' >"$engine_directory/daemon.json"
    if ! ip link show "$bridge" >/dev/null 2>&1; then
        ip link add "$bridge" type bridge
        ip address add "$bridge_network" dev "$bridge"
        ip link set "$bridge" up
    fi
    local begun=${EPOCHREALTIME/./} started
    # Its own session and no terminal: an interrupt meant for the script must not end the engine.
    setsid dockerd \
        --config-file "$engine_directory/daemon.json" \
        --host "$engine_host" \
        --data-root "$engine_directory/data" \
        --exec-root "$engine_directory/run" \
        --pidfile "$pid_file" \
        --bridge "$bridge" \
        --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false \
        >"$log" 2>&1 </dev/null &
    started=$!
    for _ in $(seq 1 300); do
        if DOCKER_HOST=$engine_host docker version >/dev/null 2>&1; then
            say "started in $(((${EPOCHREALTIME/./} - begun) / 1000)) ms, pid $started"
            printf '%s\n' "$engine_host"
            return
        fi
        kill -0 "$started" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$log" >&2
    die "dockerd did not start; its log is $log"
}

stop() {
    local pid
    # Its own engine, whatever DOCKER_HOST says.
    local DOCKER_HOST=$engine_host
    if ! pid=$(running_pid); then
        say "not running"
    else
        # Containers are the tests' and go with their engine; a test that was interrupted may have left one.
        docker ps --all --quiet | xargs --no-run-if-empty env DOCKER_HOST="$engine_host" docker rm --force >/dev/null
        kill "$pid"
        for _ in $(seq 1 300); do
            [ -e "/proc/$pid" ] || break
            sleep 0.1
        done
        [ ! -e "/proc/$pid" ] || die "dockerd, pid $pid, did not end within 30 s"
        say "stopped"
    fi
    # dockerd leaves the mount of the network namespace that `--network host` uses.
    ! mountpoint --quiet "$engine_directory/run/netns/default" || umount "$engine_directory/run/netns/default"
    ! ip link show "$bridge" >/dev/null 2>&1 || ip link delete "$bridge"
}

case ${1:-} in
    start) start ;;
    stop) stop ;;
    status) running_pid >/dev/null || die "not running"; DOCKER_HOST=$engine_host docker version --format '{{.Server.Version}}' ;;
    host) printf '%s\n' "$engine_host" ;;
    *) die "usage: engine.sh start | stop | status | host" ;;
esac
