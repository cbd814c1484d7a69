#!/usr/bin/env bash
# Makes console/wwwroot/viewer/ from the packages that package-lock.json pins. Builds call this; without npm the page of the viewer says what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
made=../wwwroot/viewer/viewer.js
if [ -e "$made" ] && [ -z "$(find . -maxdepth 1 -type f -newer "$made" -print -quit)" ]; then exit 0; fi
if ! command -v npm >/dev/null; then
  echo "yizhan: npm is not here, so the console is built without its viewer of images." >&2
  exit 0
fi
if [ ! -e node_modules/esbuild ] || [ package-lock.json -nt node_modules ]; then
  if ! npm ci --no-audit --no-fund --loglevel=error; then
    echo "yizhan: the packages of the viewer are not reached, so the console is built without it." >&2
    exit 0
  fi
  touch node_modules
fi
node build.mjs
