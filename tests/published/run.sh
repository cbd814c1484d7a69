#!/usr/bin/env bash
# Programs as scripts/images.sh publishes them, with their runtime and without a `dotnet` on the path, do what needs a child of theirs: a model and a pack in a
# process of its own. Ends with "N passed, N failed, N skipped".
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"
work=$root/artifacts/published rid=linux-x64 passed=0 failed=0 skipped=0
[ "$(uname -m)" != aarch64 ] || rid=linux-arm64
mkdir -p "$work"

for project in host/Host services/ai-infer-service/AiInfer services/nmt-asr-service/NmtAsr; do
  name=${project##*/}
  dotnet publish "$project.csproj" -c Release -r "$rid" --self-contained -o "$work/$name" -nologo -v q -p:DebugType=none -p:GenerateDocumentationFile=false -p:RunAnalyzers=false >"$work/$name.log" 2>&1 ||
    { tail -n 20 "$work/$name.log"; failed=$((failed + 1)); }
done

for name in AiInfer NmtAsr; do
  # A publish for one processor leaves other files beside the tests' own; they are built again after it.
  dotnet build "services/$([ "$name" = AiInfer ] && echo ai-infer || echo nmt-asr)-service/tests/$name.Tests.csproj" -c Release -v q -nologo >"$work/$name.Tests.log" 2>&1 ||
    { tail -n 20 "$work/$name.Tests.log"; failed=$((failed + 1)); continue; }
  YIZHAN_PUBLISHED=$work scripts/isolated.sh "artifacts/bin/$name.Tests/release/Yizhan.$name.Tests" -noColor -noLogo -class "*PublishedTests" | tee "$work/$name.tests"
  read -r all bad left < <(sed -n 's/.*Total: \([0-9]*\), Errors: [0-9]*, Failed: \([0-9]*\), Skipped: \([0-9]*\).*/\1 \2 \3/p' "$work/$name.tests") || { failed=$((failed + 1)); continue; }
  passed=$((passed + all - bad - left)) failed=$((failed + bad)) skipped=$((skipped + left))
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
