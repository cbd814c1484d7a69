#!/usr/bin/env bash
# DICOMweb clients from npm against a gateway of its own: `./check dicomweb` calls this.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../.." && pwd)
# shellcheck source=../../../../scripts/build.sh
. "$root/scripts/build.sh"
mkdir -p "$root/artifacts"
need_packages "DICOMweb clients run in node and in a real browser" node=nodejs npm=npm chromium=chromium storescu=dcmtk gdcmconv=libgdcm-tools
build_if_needed services/pacs-gw-service/PacsGw.csproj
cd "$root/services/pacs-gw-service/tests/clients"
if [ ! -e node_modules/esbuild ] || [ package-lock.json -nt node_modules ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules
fi
exec "$root/scripts/isolated.sh" node run.mjs "$root/artifacts/bin/PacsGw/release/Yizhan.PacsGw.dll"
