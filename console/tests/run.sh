#!/usr/bin/env bash
# The console in Debian's Chromium: `./check console` calls this. Screenshots go to artifacts/console/.
# CONSOLE_TESTS=audit runs those whose names match.
# CONSOLE_DOCS=1 renews the pictures of docs/console.md.
# With CONSOLE_DLL=…/Yizhan.Host.dll the same tests run against the console inside the host.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"
mkdir -p "$root/artifacts"
need_packages "the console is tested in a real browser" chromium=chromium node=nodejs npm=npm zint=zint ffmpeg=ffmpeg prometheus=prometheus /usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf=fonts-droid-fallback
build_if_needed host/Host.csproj
build_if_needed cli/Cli.csproj
cd "$root/console/tests/browser"
if [ ! -e node_modules/playwright-core ] || [ package-lock.json -nt node_modules ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules
fi
said=$(mktemp) died=0 && trap 'rm -f "$said"' EXIT

# part PROGRAM ARGUMENT...: one program of tests. The others run whatever becomes of it; one that ends without naming what failed has failed itself.
part() {
  local before
  before=$(grep -c '^FAIL ' "$said" || true)
  node "$@" 2>&1 | tee -a "$said" || [ "$(grep -c '^FAIL ' "$said" || true)" -gt "$before" ] || died=$((died + 1))
}

part count.test.mjs
part count-node.test.mjs "$root/artifacts/bin/Host/release/Yizhan.Host.dll" "$root/artifacts/bin/Cli/release/Yizhan.Cli.dll"
recording="$root/../shared/models/pocketsphinx-en-us/test/goforward.raw"
if [ -e "$recording" ]; then
  need_packages "dictation is tested with a real recogniser" "/usr/lib/$(uname -m)-linux-gnu/libpocketsphinx.so.3=libpocketsphinx3" /usr/share/pocketsphinx/model/en-us/en-us/mdef=pocketsphinx-en-us
  peers="$root/services/emr-adapter-service/tests/peers"
  [ -e "$peers/node_modules/@medplum/fhir-router" ] || (cd "$peers" && npm ci --no-audit --no-fund --loglevel=error)
  part dictation.test.mjs "$root/artifacts/bin/Host/release/Yizhan.Host.dll" "$peers/fhir-server.mjs" "$recording" "$root/artifacts/console"
else
  echo "console: dictation is skipped, since the given recordings are not here"
fi
part site.test.mjs "$root/artifacts/bin/Host/release/Yizhan.Host.dll" "$root/artifacts/bin/Cli/release/Yizhan.Cli.dll" "$root/artifacts/console"
part studies.test.mjs "$root/artifacts/bin/Host/release/Yizhan.Host.dll" "$root/artifacts/console" "$root/artifacts/bin/Cli/release/Yizhan.Cli.dll"
part console.test.mjs "${CONSOLE_DLL:-$root/artifacts/bin/Host/release/Yizhan.Host.dll}" "$root/artifacts/console"
if [ -n "${CONSOLE_DOCS:-}" ]; then
  for picture in network-en-desktop-light network-zh-tablet-dark peers-en-desktop-light emr-en-desktop-light inventory-en-desktop-light dictation audit-en-light people-en studies-en viewer-en viewer-prior-zh site-en configuration-en approve-en planes-en models-en drills-en drill-run-en reconnecting site-sign-in-zh site-home-en site-emergency-en; do
    if [ -e "$root/artifacts/console/$picture.png" ]; then cp "$root/artifacts/console/$picture.png" "$root/docs/console/"; fi
  done
fi
failed=$(($(grep -c '^FAIL ' "$said" || true) + died))
printf '%d passed, %d failed, 0 skipped\n' "$(grep -c '^ok ' "$said" || true)" $failed
[ $failed -eq 0 ]
