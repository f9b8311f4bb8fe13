#!/usr/bin/env bash
# Makes every rule of the filter wrong, one at a time, and writes which tests notice to docs/measured/mutants-filter.md. Fails if a
# change goes unnoticed. Takes under a minute: the changed policies are compiled by the test, not by a build each.
#
# For a filter that is wrong in the whole server, build one: MAYFLY_DROP_RULE=name or MAYFLY_LOOSEN_RULE=name cargo test
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
environment=$(tools/python_env.sh)
eval "$environment"

table=$(mktemp)
trap 'rm -f -- "$table"' EXIT
cargo test --quiet --locked --test filter -- --mutants >"$table"
origin="Command: \`tools/mutants_filter.sh\`. Commit: \`$("$PYO3_PYTHON" tools/measured.py)\`."
{ sed -n 1,2p "$table"; printf '%s\n\n' "$origin"; sed 1,2d "$table"; } >docs/measured/mutants-filter.md
printf '%d changes, each noticed: docs/measured/mutants-filter.md\n' "$(grep -c '^| [`n]' "$table")"
