#!/usr/bin/env bash
# The station as it is on an arm64 board, under qemu's user mode emulation: the program that is published for linux-arm64 on libraries of Debian's
# arm64 packages. A study goes through it to a centre of this machine, and its ai-infer answers. Ends with "N passed, N failed, N skipped".
# shellcheck disable=SC2317 # What `expect` is given is called.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
work=$root/artifacts/arm64
mkdir -p "$work"
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"
# shellcheck source=../containers/lib.sh
. "$root/tests/containers/lib.sh"

# Everything that listens is in a network of its own.
if [ -z "${YIZHAN_ARM64_INSIDE:-}" ] && unshare -n true 2>/dev/null; then
  ( need_packages "arm64 programs are run, and studies sent" storescu=dcmtk curl=curl jq=jq ) || true
  need_codecs
  apt=$work/apt system=$work/system
  if [ ! -e "$system/.complete" ]; then
    # 7.2, which Debian 12 has, ends with a segmentation fault under .NET; Debian 13's is one static file.
    { apt_state "$work/apt-qemu" trixie "$(dpkg --print-architecture)" && (cd "$work/apt-qemu" && APT_CONFIG=$work/apt-qemu/apt.conf apt-get download qemu-user) && dpkg -x "$work"/apt-qemu/qemu-user_*.deb "$work/qemu" &&
      apt_state "$apt" "$(. /etc/os-release && echo "$VERSION_CODENAME")" arm64 && (cd "$apt" && export APT_CONFIG=$apt/apt.conf &&
      apt-get download libc6 libgcc-s1 libstdc++6 gcc-12-base zlib1g libssl3 libicu72 libopenjp2-7 libcharls2) &&
      mkdir -p "$system" && for deb in "$apt"/*_arm64.deb; do dpkg -x "$deb" "$system" || exit 1; done && : >"$system/.complete"; } >"$work/apt.log" 2>&1
  fi
  build_if_needed host/Host.csproj
  if [ ! -e "$work/app/.complete" ] || [ "$root/artifacts/.built-Host.csproj" -nt "$work/app/.complete" ]; then
    rm -f "$work/app/.complete"
    dotnet publish host/Host.csproj -c Release -r linux-arm64 --self-contained -o "$work/app" -nologo -v q -p:DebugType=none -p:GenerateDocumentationFile=false -p:RunAnalyzers=false >"$work/publish.log" 2>&1 ||
      { tail -n 20 "$work/publish.log"; failed=1; summary; }
    : >"$work/app/.complete"
  fi
  YIZHAN_ARM64_INSIDE=yes exec scripts/isolated.sh bash "$0"
fi

skip_all() {
  echo "skip  arm64: $1"
  summary 1
}
[ -e "$work/system/.complete" ] || skip_all "qemu-user and Debian's arm64 libraries cannot be had: $(tail -n 1 "$work/apt.log")"
[ -e "$work/app/.complete" ] || skip_all "network namespaces are not permitted here"

data=$(mktemp -d "$work/run-XXXXXX")
pids=()
finish() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  rm -rf "$data"
}
trap finish EXIT

# The core of an RK3588. Emulated, code is translated twice: the first tier stays, and pages are not mapped twice over.
arm64() {
  exec "$work/qemu/usr/bin/qemu-aarch64" -cpu cortex-a76 -L "$work/system" -E DOTNET_EnableWriteXorExecute=0 -E DOTNET_TieredPGO=0 -E DOTNET_gcConcurrent=0 -E DOTNET_GCHeapHardLimit=0x20000000 \
    -E LD_LIBRARY_PATH=/usr/lib/aarch64-linux-gnu "$work/app/Yizhan.Host" "$@"
}

centre=http://127.0.0.1:8080 site=http://127.0.0.1:8090
centre_token=$data/centre/identity/operator.token site_token=$data/site/identity/operator.token

is_arm64() { [ "$(od -An -tx1 -j18 -N1 "$work/app/$1" | tr -d ' ')" = b7 ]; }
programs_are_arm64() { is_arm64 Yizhan.Host && is_arm64 libonnxruntime.so && is_arm64 libe_sqlite3.so; }

starts() {
  dotnet artifacts/bin/Host/release/Yizhan.Host.dll issue board --ca "$data/ca" --out "$data/board" || return 1
  dotnet artifacts/bin/Host/release/Yizhan.Host.dll centre "--node:dataFolder=$data/centre" "--fleet:caFolder=$data/ca" --pacs-gw:acceptAssociations=false --storage:freeFloorBytes=0 >"$work/centre.log" 2>&1 &
  pids+=($!)
  arm64 edge "--node:dataFolder=$data/site" --node:siteId=board "--web:url=$site" --storage:freeFloorBytes=0 \
    --station:centreUrl=https://127.0.0.1:8443 "--station:certificatePath=$data/board/certificate.pem" "--station:keyPath=$data/board/key.pem" "--station:rootPath=$data/board/root.crt" \
    --pacs-gw:aeTitle=YIZHAN --pacs-gw:peers:0:aeTitle=STORESCU >"$work/site.log" 2>&1 &
  pids+=($!)
  if ! { wait_until 60 curl -sf -o /dev/null "$centre/healthz" && wait_until 420 curl -sf -o /dev/null "$site/healthz"; }; then
    tail -n 20 "$work/site.log"
    return 1
  fi
}

study_goes_through() {
  make_study 1 && storescu -to 300 -aet STORESCU -aec YIZHAN 127.0.0.1 11112 "$work"/study-1-*.dcm &&
    wait_until 120 has_study "$site" "$site_token" 1 && wait_until 180 has_study "$centre" "$centre_token" 1
}

# A slice of 64 by 64 with a bright disc, the shape that the bundle asks for: the answer has as many values, all finite, and is the same twice.
infers() {
  local token size
  token=$(cat "$site_token")
  size=$(curl -sf -H "Authorization: Bearer $token" "$site/v2/models/nodule" | tee "$work/metadata.json" | jq '.inputs[0].shape[-1]')
  [ "${size:-0}" -gt 0 ] || size=64
  jq -nc --argjson n "$size" '{inputs: [{name: "image", datatype: "FP32", shape: [1, 1, $n, $n],
    data: [range($n) as $y | range($n) as $x | if (($x - $n / 2) * ($x - $n / 2) + ($y - $n / 2) * ($y - $n / 2)) < 25 then 0.9 else 0.1 end]}]}' >"$work/request.json"
  curl -s --max-time 300 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{}' "$site/v2/repository/models/nodule/load" || return 1
  for i in 1 2; do
    curl -sf --max-time 300 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d @"$work/request.json" "$site/v2/models/nodule/infer" >"$work/answer-$i.json" ||
      { curl -s --max-time 300 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d @"$work/request.json" "$site/v2/models/nodule/infer" | head -c 500; return 1; }
  done
  jq -e --argjson n "$size" '.model_name == "nodule" and (.outputs[0].data | length) == $n * $n and (.outputs[0].data | (max - min) > 0)' "$work/answer-1.json" &&
    cmp <(jq -c .outputs "$work/answer-1.json") <(jq -c .outputs "$work/answer-2.json")
}

# Mandarin by the shipped pack: features and search in C#, the network in ONNX Runtime; none of its recordings is in the training.
hears() {
  local heard
  heard=$(curl -sf --max-time 300 -H "Authorization: Bearer $(cat "$site_token")" --data-binary @models/training/mandarin/recordings/clean-020.wav "$site/nmt-asr/transcripts?dialect=cmn&format=txt") || return 1
  [ "$heard" = 双肺呼吸音清 ] || { echo "heard '$heard'"; return 1; }
}

# The same request to this machine's own processor: what differs is rounding.
agrees() {
  dotnet artifacts/bin/Host/release/Yizhan.Host.dll edge "--node:dataFolder=$data/native" --node:siteId=native --web:url=http://127.0.0.1:8100 --pacs-gw:acceptAssociations=false --storage:freeFloorBytes=0 >"$work/native.log" 2>&1 &
  pids+=($!)
  wait_until 60 curl -sf -o /dev/null http://127.0.0.1:8100/healthz || { tail -n 20 "$work/native.log"; return 1; }
  curl -sf -H "Authorization: Bearer $(cat "$data/native/identity/operator.token")" -H 'Content-Type: application/json' -d '{}' http://127.0.0.1:8100/v2/repository/models/nodule/load
  curl -sf -H "Authorization: Bearer $(cat "$data/native/identity/operator.token")" -H 'Content-Type: application/json' -d @"$work/request.json" http://127.0.0.1:8100/v2/models/nodule/infer >"$work/answer-native.json" || return 1
  jq -es '[.[0].outputs[0].data, .[1].outputs[0].data] | transpose | map(.[0] - .[1] | if . < 0 then -. else . end) | max < 0.001' "$work/answer-1.json" "$work/answer-native.json"
}

expect "program, runtime and engine are built for arm64" programs_are_arm64
expect "the station comes up under qemu, the centre beside it" starts
expect "a study sent to the emulated station is at the centre" study_goes_through
expect "ai-infer answers an inference under qemu, twice the same" infers
expect "the answer is that of this machine's own processor" agrees
expect "nmt-asr hears a phrase of Mandarin under qemu" hears
summary
