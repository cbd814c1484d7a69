#!/usr/bin/env bash
# The static gates of deployment: what is rendered, what it says, and the bootstrap of a box. Ends with "N passed, N failed, N skipped".
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"
need_packages "manifests are rendered and held against schemas" /usr/share/doc/python3-yaml=python3-yaml /usr/share/doc/python3-jsonschema=python3-jsonschema
need_packages "the bootstrap of a site is tested on boards made of files" bats=bats jq=jq openssl=openssl strace=strace mender=mender-client mender-artifact=mender-artifact

results=artifacts/deploy && mkdir -p $results
bats --tap scripts/edge/tests >$results/bats.tap 2>&1
grep -E '^not ok|# skip' -A 12 $results/bats.tap
passed=$(grep -cE '^ok ' $results/bats.tap) failed=$(grep -cE '^not ok ' $results/bats.tap) skipped=$(grep -cE '^ok .*# skip' $results/bats.tap)
passed=$((passed - skipped))
[ $((passed + failed + skipped)) -gt 0 ] || failed=1
echo "bootstrap: $passed tests on boards made of files"

if command -v kubectl >/dev/null; then
  python3 infra/tests/gates.py | tee $results/gates.log
  counts=$(grep -E '^[0-9]+ passed' $results/gates.log | tail -n 1)
  read -r p _ f _ s _ <<<"${counts//,/}"
  passed=$((passed + ${p:-0})) failed=$((failed + ${f:-1})) skipped=$((skipped + ${s:-0}))
else
  echo "skip  manifests: kubectl (with kustomize) is not on PATH"
  skipped=$((skipped + 1))
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
