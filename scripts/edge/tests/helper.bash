# shellcheck shell=bash
# Boards as folders, a signed bundle, and commands that only write down how they were called.

bats_require_minimum_version 1.5.0

bootstrap=$BATS_TEST_DIRNAME/../bootstrap.sh

setup() {
  R=$BATS_TEST_TMPDIR/root B=$BATS_TEST_TMPDIR/bundle K=$BATS_TEST_TMPDIR/keys
  mkdir -p "$R" "$B" "$K" "$BATS_TEST_TMPDIR/stubs"
  export YIZHAN_MIN_FREE_MIB=1 YIZHAN_MACHINE=aarch64
  stubs
}

# Whatever would change this machine or ask a network is a file that records its arguments; the second kind fails the test.
stubs() {
  local name
  export CALLS=$BATS_TEST_TMPDIR/calls
  : >"$CALLS"
  for name in systemctl docker nerdctl modprobe; do
    printf '#!/bin/sh\necho "%s $*" >>"$CALLS"\n' "$name" >"$BATS_TEST_TMPDIR/stubs/$name"
  done
  for name in curl wget apt-get ping; do
    printf '#!/bin/sh\necho "NETWORK %s $*" >>"$CALLS"\nexit 97\n' "$name" >"$BATS_TEST_TMPDIR/stubs/$name"
  done
  chmod +x "$BATS_TEST_TMPDIR"/stubs/*
  PATH=$BATS_TEST_TMPDIR/stubs:$PATH
}

# board NAME: a root that looks like it.
board() {
  mkdir -p "$R"/proc/net "$R"/proc/device-tree "$R"/sys/devices/system/cpu "$R"/sys/fs/cgroup "$R"/sys/block "$R"/var/lib
  printf 'MemTotal:       16252928 kB\n' >"$R/proc/meminfo"
  printf 'Iface Destination Gateway\neth0 00000000 0100A8C0\n' >"$R/proc/net/route"
  echo 0-7 >"$R/sys/devices/system/cpu/possible"
  : >"$R/sys/fs/cgroup/cgroup.controllers"
  mkdir -p "$R/sys/block/nvme0n1"
  case $1 in
    rock-5b) compatible radxa,rock-5b rockchip,rk3588 && rknpu 129 v0.9.8 ;;
    orange-pi-5) compatible xunlong,orangepi-5 rockchip,rk3588s && rknpu 128 v0.9.8 ;;
    mainline) compatible radxa,rock-5b rockchip,rk3588 && mkdir -p "$R/dev/accel" && : >"$R/dev/accel/accel0" ;;
    no-driver) compatible radxa,rock-5b rockchip,rk3588 ;;
    rk3576) compatible armsom,sige5 rockchip,rk3576 ;;
    clone) compatible acme,board acme,rockchip,rk3588-clone ;;
    raspberry-pi) compatible raspberrypi,5-model-b brcm,bcm2712 ;;
    x86) rm -r "$R/proc/device-tree" && export YIZHAN_MACHINE=x86_64 ;;
  esac
}

# NUL-separated, as the kernel shows it: made here, since such files do not survive editors.
compatible() { printf '%s\0' "$@" >"$R/proc/device-tree/compatible"; }

rknpu() {
  mkdir -p "$R/sys/class/drm/renderD$1/device" "$R/sys/class/drm/renderD$((257 - $1))/device" "$R/sys/kernel/debug/rknpu"
  printf 'DRIVER=RKNPU\n' >"$R/sys/class/drm/renderD$1/device/uevent"
  printf 'DRIVER=panthor\n' >"$R/sys/class/drm/renderD$((257 - $1))/device/uevent"
  echo "RKNPU driver: $2" >"$R/sys/kernel/debug/rknpu/version"
}

# elf MACHINE: the head of an ELF file for it (b7 AArch64, 3e x86-64).
elf() { printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\x'"$1"'\0rest'; }

keys() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$K/bundle.pem"
  openssl ec -in "$K/bundle.pem" -pubout -out "$K/bundle.pub" 2>/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 400 -subj /CN=root -keyout "$K/root.key" -out "$K/root.crt" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test-site -keyout "$K/site.key" -out "$K/site.csr" 2>/dev/null
  openssl x509 -req -in "$K/site.csr" -CA "$K/root.crt" -CAkey "$K/root.key" -CAcreateserial -days 300 -out "$K/site.crt" 2>/dev/null
}

# bundle [VERSION [FIELD=VALUE...]]: makes one in $B and signs it.
bundle() {
  local version=${1:-26.11.1} arch=arm64
  [ $# -eq 0 ] || shift
  [ -e "$K/bundle.pem" ] || keys
  [ "$YIZHAN_MACHINE" = aarch64 ] || arch=amd64
  rm -rf "$B"
  mkdir -p "$B"/{bin,images,pki,licences,kubernetes,compose,register/fleet,register/argocd,node}
  for name in k3s nerdctl containerd runc; do elf "$([ $arch = arm64 ] && echo b7 || echo 3e)" >"$B/bin/$name"; done
  echo "image of the host $version" >"$B/images/host.tar"
  echo "image of orthanc" >"$B/images/orthanc.tar"
  cp "$K/root.crt" "$K/site.crt" "$K/site.key" "$B/pki/"
  echo '{"feature":"lung-nodule"}' >"$B/licences/lung-nodule.json"
  echo 'kind: Namespace' >"$B/kubernetes/edge.yaml"
  echo 'services: {}' >"$B/compose/docker-compose.yml"
  echo 'kind: HelmChart' >"$B/register/fleet/agent.yaml"
  echo 'kind: ServiceAccount' >"$B/register/argocd/manager.yaml"
  echo 'siteId: test-site' >"$B/site.yaml"
  echo 'station: {}' >"$B/node/edge.yaml"
  head=(site=test-site "version=$version" "arch=$arch" "created=$(date +%s)" "expires=$(($(date +%s) + 86400 * 90))")
  head+=("$@")
  seal
}

# seal: writes the manifest of what is in $B and signs it; later fields win.
seal() {
  local pair name value
  declare -A fields=()
  for pair in "${head[@]}"; do fields[${pair%%=*}]=${pair#*=}; done
  {
    echo "yizhan-bundle 1"
    for name in site version arch created expires; do
      value=${fields[$name]}
      printf '%s %s\n' "$name" "$value"
    done
    (cd "$B" && find . -type f ! -name 'bundle.manifest*' -printf '%P\n' | LC_ALL=C sort | while read -r file; do
      printf 'file %s %s %s\n' "$(sha256sum <"$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "$file"
    done)
  } >"$BATS_TEST_TMPDIR/manifest"
  mv "$BATS_TEST_TMPDIR/manifest" "$B/bundle.manifest"
  sign
}

sign() { openssl dgst -sha256 -sign "$K/bundle.pem" "$B/bundle.manifest" | base64 -w0 >"$B/bundle.manifest.sig"; }

install_it() { "$bootstrap" install --root "$R" --bundle "$B" --key "$K/bundle.pub" "$@"; }

# tree FOLDER: type, mode, digest and path of everything below it, without what differs from run to run.
tree() {
  (cd "$1" && find . ! -path './run*' -printf '%y %m %p\n' | LC_ALL=C sort | while read -r type mode path; do
    if [ "$type" = f ]; then echo "$mode $(sha256sum <"$path" | cut -d' ' -f1) $path"; else echo "$type $mode $path"; fi
  done)
}

# exit_is CODE COMMAND...
exit_is() {
  local want=$1
  shift
  run "$@"
  [ "$status" = "$want" ] || { echo "exit $status, not $want; output: $output" >&2; return 1; }
}

says() { [[ $output == *"$1"* ]] || { echo "no '$1' in: $output" >&2; return 1; }; }
