#!/usr/bin/env bash
# Mutants: each patch here breaks one thing that a promise rests on, and names the tests that must notice.
#   tests/mutants/run.sh              applies each to a copy of the tree, builds what changed, runs those tests; fails if one passes
#   tests/mutants/run.sh NAME...      only the patches whose names begin so
#   tests/mutants/run.sh --applies    only tries that each patch still applies: seconds
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$root/artifacts/mutants
cd "$root" || exit 1

applies() {
  local patch failed=0
  for patch in "$here"/*.patch; do
    git apply --check "$patch" 2>"$root/artifacts/mutant.log" || {
      echo "does not apply: $(basename "$patch" .patch): $(head -n 1 "$root/artifacts/mutant.log")"
      failed=1
    }
  done
  return $failed
}

# What git knows or would take, with its times, so that a second run builds only what changed.
copy_tree() {
  mkdir -p "$copy"
  find "$copy" -mindepth 1 -maxdepth 1 ! -name artifacts -exec rm -rf {} +
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ -e "$file" ] && printf '%s\0' "$file"
  done | tar --null -T - -cf - | tar -xf - -C "$copy"
}

compile() { (cd "$copy" && RunAnalyzers=false dotnet build "$(project "$1")" -c Release -nologo -v q -p:TreatWarningsAsErrors=false "${@:2}") >"$root/artifacts/mutant.log" 2>&1; }

project() { grep -oE "[A-Za-z/-]+/$1\.csproj" "$root/Yizhan.slnx" | head -n 1; }

# The ceiling keeps git from taking the copy for a part of the repository around it.
in_copy() { (cd "$copy" && GIT_CEILING_DIRECTORIES="$root/artifacts" git apply "$@"); }

# killed PATCH: applies it, runs its tests, takes it back.
killed() {
  local patch=$1 name what assembly arguments from=$SECONDS verdict=0
  name=$(basename "$patch" .patch)
  what=$(sed -n 's/^Killed-by: //p' "$patch")
  read -ra arguments <<<"$what"
  assembly=${arguments[0]}
  in_copy "$patch" || { echo "does not apply: $name"; return 1; }
  if ! compile "$assembly" --no-restore; then
    echo "does not build: $name"
    grep -m 3 error "$root/artifacts/mutant.log"
    verdict=1
  elif (cd "$copy" && timeout 180 scripts/isolated.sh "artifacts/bin/$assembly/release/Yizhan.$assembly" -noColor -noLogo -stopOnFail "${arguments[@]:1}") >"$root/artifacts/mutant-$name.log" 2>&1; then
    grep -q 'Total: 0' "$root/artifacts/mutant-$name.log" && what="$what: no such test"
    echo "SURVIVED $name: $(head -n 1 "$patch") ($what passed, $((SECONDS - from)) s)"
    verdict=1
  else
    echo "killed $name by $(grep -aoE '[A-Za-z_.]+(\(.*\))? \[FAIL\]' "$root/artifacts/mutant-$name.log" | head -n 1 | sed 's/ \[FAIL\]//; s/.*Tests\.\(Crash\.\|Contract\.\)\?//' | cut -c1-110 | grep . || echo 'a hang or a crash') ($((SECONDS - from)) s)"
  fi
  in_copy -R "$patch"
  return $verdict
}

mkdir -p artifacts
if [ "${1:-}" = --applies ]; then
  applies && echo "figures: $(find "$here" -name '*.patch' | wc -l) mutants still apply"
  exit
fi

applies || exit 1
copy_tree
export RunAnalyzers=false
for assembly in Storage.Tests Station.Tests Simulation.Tests; do
  compile "$assembly" || { echo "the tree does not build: $assembly"; tail -n 5 "$root/artifacts/mutant.log"; exit 1; }
done
from=$SECONDS total=0 survived=0
for patch in "$here"/*.patch; do
  chosen=$([ $# -eq 0 ] && echo yes)
  for name in "$@"; do
    [[ $(basename "$patch") != "$name"* ]] || chosen=yes
  done
  [ -n "$chosen" ] || continue
  total=$((total + 1))
  killed "$patch" || survived=$((survived + 1))
done
echo "figures: mutants: $((total - survived)) of $total killed in $((SECONDS - from)) s"
[ "$survived" -eq 0 ] && [ "$total" -gt 0 ]
