#!/usr/bin/env bash
# The console in Debian's Chromium: `./check console` calls this. Screenshots go to artifacts/console/.
# CONSOLE_TESTS=audit runs those whose names match.
# With CONSOLE_DLL=…/Yizhan.Host.dll the same tests run against the console inside the host.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"
mkdir -p "$root/artifacts"
need_packages "the console is tested in a real browser" chromium=chromium node=nodejs npm=npm zint=zint ffmpeg=ffmpeg /usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf=fonts-droid-fallback
build_if_needed host/Host.csproj
build_if_needed cli/Cli.csproj
cd "$root/console/tests/browser"
if [ ! -e node_modules/playwright-core ] || [ package-lock.json -nt node_modules ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules
fi
node count.test.mjs
node count-node.test.mjs "$root/artifacts/bin/Host/release/Yizhan.Host.dll" "$root/artifacts/bin/Cli/release/Yizhan.Cli.dll"
exec node console.test.mjs "${CONSOLE_DLL:-$root/artifacts/bin/Host/release/Yizhan.Host.dll}" "$root/artifacts/console"
