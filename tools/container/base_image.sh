#!/usr/bin/env bash
# A stand-in for the Dockerfile's base image, where none can be pulled: base_image.sh [--fresh]
#
# Imports the small Debian of base_tree.sh under the name on the Dockerfile's BASE line, for tests on this machine only. Nothing is
# done when the engine already has an image of that name; --fresh makes it anew. On a machine that is not Debian the image itself is
# pulled.

. "$(dirname "$0")/common.sh"

name=$(base_image_name)
if [ "${1:-}" != --fresh ] && docker image inspect "$name" >/dev/null 2>&1; then
    say "$name is there"
    exit
fi
if ! on_debian; then
    docker pull --quiet "$name" >&2
    exit
fi
archive=$("$repository/tools/container/base_tree.sh" "$debian_suite" "$@")
docker import --change 'CMD ["bash"]' --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    "$archive" "$name" >/dev/null
say "$name, $(docker image inspect --format '{{.Size}}' "$name" | numfmt --to=si)B"
