#!/usr/bin/env bash
# Starts an image one way, asks it what a newcomer would ask, and stops it: smoke.sh IMAGE LEVEL [docker run option]...
#
# LEVEL is the isolation level that must be in force. Passes when the container becomes healthy by its own health check,
# answers the first example of the README, blames a failing script and not itself, says LEVEL in /capabilities and in the
# response's header, and ends with status 0 on SIGTERM within ten seconds.

. "$(dirname "$0")/common.sh"

image=$1 level=$2
shift 2

container=$(docker run --detach --publish 127.0.0.1::8080 "$@" "$image")
scratch=$(mktemp -d)
cleanup() {
    local status=$?
    [ $status = 0 ] || docker logs "$container" >&2 || true
    docker rm --force "$container" >/dev/null
    rm -rf "$scratch"
}
trap cleanup EXIT

for _ in $(seq 1 300); do
    state=$(docker inspect --format '{{.State.Status}} {{.State.Health.Status}}' "$container")
    [ "$state" = "running starting" ] || break
    sleep 0.1
done
[ "$state" = "running healthy" ] || die "the container is $state, not running and healthy"
# With gVisor or another runtime the port may be bound twice, for both families of addresses.
address=$(docker port "$container" 8080/tcp | sed -n 1p)

# usage: post SCRIPT; leaves the status in $status, the headers in $scratch/headers and the body in $scratch/body
post() {
    status=$(jq --null-input --arg script "$1" '{script: $script}' \
        | curl --silent --show-error --max-time 20 --header 'Content-Type: application/json' --data-binary @- \
            --dump-header "$scratch/headers" --output "$scratch/body" --write-out '%{http_code}' "http://$address/execute")
}
expect() { # usage: expect WHAT WANTED FOUND
    [ "$2" = "$3" ] || die "$1: expected $2, found $3"
}

post $'def main():\n    return {"msg": "hello"}'
expect "the first example" '200 {"msg":"hello"}' "$status $(jq --compact-output .result "$scratch/body")"
expect "Mayfly-Isolation" "$level" "$(sed -n 's/^mayfly-isolation: *\([a-z]*\).*/\1/Ip' "$scratch/headers")"
post $'def main():\n    return 1 / 0'
expect "a failing script" "422 exception" "$status $(jq --raw-output .code "$scratch/body")"
post $'def main():\n    return open("/proc/self/environ").read()'
expect "a script that looks around" 422 "$status"
expect "/capabilities" "$level" "$(curl --silent --max-time 5 "http://$address/capabilities" | jq --raw-output .isolation)"

docker stop --time 10 "$container" >/dev/null
expect "the status after SIGTERM" 0 "$(docker inspect --format '{{.State.ExitCode}}' "$container")"
say "$image answers at level $level: docker run $*"
