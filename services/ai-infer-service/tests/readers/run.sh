#!/usr/bin/env bash
# Segmentation and report of the shipped model, and of a head where there is one, read by dcmjs and @cornerstonejs/adapters: `./check results` calls this.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../.." && pwd)
# shellcheck source=../../../../scripts/build.sh
. "$root/scripts/build.sh"
mkdir -p "$root/artifacts"
need_packages "viewers' libraries run in node" node=nodejs npm=npm dciodvfy=dicom3tools dcmdump=dcmtk
build_if_needed services/ai-infer-service/tests/AiInfer.Tests.csproj
objects="$root/artifacts/results"
rm -rf "$objects"
YIZHAN_KEEP_OBJECTS="$objects" "$root/scripts/isolated.sh" "$root/artifacts/bin/AiInfer.Tests/release/Yizhan.AiInfer.Tests" -noColor -noLogo -class "*ObjectTests" -class "*BrainTests" >"$root/artifacts/results.log"
cd "$root/services/ai-infer-service/tests/readers"
if [ ! -e node_modules/dcmjs ] || [ package.json -nt node_modules ]; then
  npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error
  touch node_modules
fi
# The heads are there where the models of others are (shared/models).
for folder in "$objects" "$objects"/brain-*; do
  [ ! -e "$folder/seg.dcm" ] || "$root/scripts/isolated.sh" node read.mjs "$folder"
done
