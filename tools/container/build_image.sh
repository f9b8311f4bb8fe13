#!/usr/bin/env bash
# Builds the image with the engine of engine.sh (or DOCKER_HOST's): build_image.sh [VARIANT] [TAG]
#
# VARIANT is slim (the default) or datasci, TAG mayfly:VARIANT. The base image must be there, pulled or made by
# base_image.sh. `--network host`, because the tests' engine gives containers no way out. Proxy settings pass into the
# build and are not kept in the image: Docker knows these build arguments by name. Prints the tag.

. "$(dirname "$0")/common.sh"

variant=${1:-slim}
tag=${2:-mayfly:$variant}
arguments=(--network host --build-arg "VARIANT=$variant")
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    [ -z "${!name:-}" ] || arguments+=(--build-arg "$name")
done
if revision=$(git -C "$repository" rev-parse --verify --quiet HEAD); then
    arguments+=(--build-arg "REVISION=$revision")
fi
arguments+=(--build-arg "VERSION=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' "$repository/Cargo.toml")")
docker build "${arguments[@]}" --tag "$tag" "$repository" >&2
say "$tag, $(docker image inspect --format '{{.Size}}' "$tag" | numfmt --to=si)B"
printf '%s\n' "$tag"
