#!/usr/bin/env bash
# Holds every file in deploy/, compose.yaml and the workflows to its published schema: check_manifests.sh
#
# The validators come from PyPI with their schemas inside, so nothing is fetched while checking. Unknown fields are
# errors: a misspelled one would otherwise be ignored by the cluster, without a word.

. "$(dirname "$0")/common.sh"

environment=$cache/manifests
requirements=$repository/tools/container/manifests-requirements.txt
if ! cmp -s "$requirements" "$environment/requirements.txt"; then
    python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3 python3-venv
    rm -rf "$environment"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    cp "$requirements" "$environment/requirements.txt"
fi

cd "$repository"
"$environment/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
"$environment/bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$environment/bin/kubernetes-validate" --strict deploy/kubernetes.yaml
"$environment/bin/python" tools/container/check_deploy.py
