#!/usr/bin/env bash
# Each new commit's subject is `area: what changes for the reader`, in at most 72 characters: check_commits.sh
#
# New are those after the commit named here, the last whose subject is longer. In a clone without that commit, which has only the newest
# few, all that it has are looked at. That a commit changes one thing only, nobody can tell but a reader.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C.UTF-8

longest=72
last_old=3c99dee05c9418c34ea21460750ad33258d74a90

range=HEAD
if git cat-file -e "$last_old^{commit}" 2>/dev/null; then
    range=$last_old..HEAD
elif [ "$(git rev-parse --is-shallow-repository)" != true ]; then
    echo "check_commits: the history has no commit $last_old, so it is not this project's" >&2
    exit 1
fi
wrong=0 count=0
while read -r commit subject; do
    count=$((count + 1))
    if [ ${#subject} -gt $longest ]; then
        echo "$commit: ${#subject} characters, $longest are allowed: $subject"
        wrong=1
    elif ! [[ $subject =~ ^[^:]+:\ . ]]; then
        echo "$commit: not \`area: what changes\`: $subject"
        wrong=1
    fi
done < <(git log --no-merges --format='%h %s' "$range")
[ $wrong = 0 ] && echo "$count commits, no subject longer than $longest characters"
