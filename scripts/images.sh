#!/usr/bin/env bash
# Builds, pushes, signs and verifies the images of this tree. `./yizhan images --help`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=build.sh
. "$root/scripts/build.sh"

usage() {
  cat <<'END'
Usage: yizhan images MODE [options] [NAME...]

Modes
  list     the images of this tree, and those whose folder is not there yet
  build    publishes each program and puts it on a base of Debian packages; prints the size; writes an SBOM beside it
  push     to a registry, and writes down the digest that the registry gave
  sign     signs the digests that push wrote down (ECDSA P-256, the payload of cosign's "simple signing")
  verify   checks signature and digest without a network

Options
  --arch amd64|arm64   default: this machine's
  --registry HOST/PATH where push goes; default localhost/yizhan, which only build takes
  --key FILE           private key for sign, public key for verify (PEM, as openssl or `yizhan config key` make them)
  --version V          default: the one in infra/images.lock
  --json               the last line is one JSON object

Examples
  yizhan images build host
  yizhan images push --registry harbor.example/yizhan host
  yizhan images sign --key release.pem host && yizhan images verify --key release.pub host
END
}

wrong() {
  echo "yizhan images: $1" >&2
  exit 64
}

# Name, folder, project: what is a Deployment is an image, `host` is all of them in one, and `cli` is the command, with the host for its drills.
catalogue() {
  cat <<'END'
auth services/auth-service
pacs-gw services/pacs-gw-service
ai-infer services/ai-infer-service
nmt-asr services/nmt-asr-service
emr-adapter services/emr-adapter-service
inventory services/inventory-service
audit services/audit-service
fleet fleet
console console
host host
cli cli
END
}

folder_of() { catalogue | sed -n "s/^$1 //p"; }

project_of() { find "$root/$(folder_of "$1")" -maxdepth 1 -name '*.csproj' 2>/dev/null | head -n 1; }

mode=${1:-} arch='' registry=localhost/yizhan key='' json='' names=()
version=$(sed -n 's/^version: *//p' "$root/infra/images.lock")
case $mode in
  list | build | push | sign | verify) shift ;;
  -h | --help | '') usage && exit 0 ;;
  *) wrong "'$mode' is not a mode; accepted: list, build, push, sign, verify." ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --arch | --registry | --key | --version)
      [ $# -gt 1 ] || wrong "$1 needs a value."
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --json) json=yes ;;
    -h | --help) usage && exit 0 ;;
    -*) wrong "'$1' is not understood; see --help." ;;
    *)
      [ -n "$(folder_of "$1")" ] || wrong "there is no image '$1'; there are: $(catalogue | cut -d' ' -f1 | tr '\n' ' ')."
      [ -n "$(project_of "$1")" ] || wrong "'$1' is built from $(folder_of "$1"), and that is not in this tree."
      names+=("$1")
      ;;
  esac
  shift
done
[ -n "$arch" ] || case $(uname -m) in aarch64) arch=arm64 ;; *) arch=amd64 ;; esac
[[ $arch =~ ^(amd64|arm64)$ ]] || wrong "--arch is '$arch'; accepted: amd64, arm64."
if [ ${#names[@]} = 0 ]; then
  while read -r name _; do
    [ -z "$(project_of "$name")" ] || names+=("$name")
  done < <(catalogue)
fi
work=$root/artifacts/images
mkdir -p "$work"
docker=(docker)
[ -z "${YIZHAN_DOCKER_HOST:-}" ] || docker=(docker -H "$YIZHAN_DOCKER_HOST")
export DOCKER_BUILDKIT=0 # The classic builder needs no further plugin, and nothing here has more than one step.

# base [tools]: the base once for each architecture: a root file system of Debian packages. That of the command has PostgreSQL's client, for base backups.
base() {
  local kind=${1:+-$1} more=${1:+,postgresql-client-15}
  local rootfs=$work/rootfs$kind-$arch
  ! "${docker[@]}" image inspect "localhost/yizhan/base$kind:12-$arch" >/dev/null 2>&1 || return 0
  need_packages "the base image is made of Debian packages" debootstrap=debootstrap
  if [ ! -e "$rootfs.tar" ]; then
    [ "$(id -u)" = 0 ] || { echo "yizhan images: the base image is made by debootstrap, which needs root: run it once with sudo." >&2; exit 77; }
    rm -rf "$rootfs"
    if [ "$arch" = "$(dpkg --print-architecture)" ]; then
      debootstrap --arch="$arch" --variant=minbase --include="ca-certificates,libicu72,libssl3,tzdata,libopenjp2-7,libcharls2$more" bookworm "$rootfs" >"$work/debootstrap.log" 2>&1 ||
        { tail -5 "$work/debootstrap.log" >&2; exit 69; }
      dpkg-query --admindir="$rootfs/var/lib/dpkg" -W -f '${Package} ${Version}\n' >"$rootfs.packages"
    else
      unpack_base "$rootfs" "${more#,}" >"$work/debootstrap.log" 2>&1 || { tail -5 "$work/debootstrap.log" >&2; exit 69; }
    fi
    rm -rf "$rootfs"/var/cache/apt/* "$rootfs"/var/lib/apt/lists/* "$rootfs"/usr/share/{doc,man,locale,info}/* "$rootfs"/var/log/*
    tar -C "$rootfs" --sort=name --mtime=@0 -cf "$rootfs.tar.new" .
    mv "$rootfs.tar.new" "$rootfs.tar"
    rm -rf "$rootfs"
  fi
  load_base "$kind"
}

# load_base [-KIND]: `docker import` would say that it is for this machine's processor, whatever --platform is.
load_base() {
  local folder=$work/base$1-$arch rootfs=$work/rootfs$1-$arch
  rm -rf "$folder" && mkdir "$folder" && ln "$rootfs.tar" "$folder/layer.tar"
  printf '{"architecture":"%s","os":"linux","config":{"Env":["LANG=C.UTF-8"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$arch" "$(sha256sum <"$folder/layer.tar" | cut -d' ' -f1)" >"$folder/config.json"
  printf '[{"Config":"config.json","RepoTags":["localhost/yizhan/base%s:12-%s"],"Layers":["layer.tar"]}]' "$1" "$arch" >"$folder/manifest.json"
  tar -C "$folder" -cf - manifest.json config.json layer.tar | "${docker[@]}" load >/dev/null
  rm -rf "$folder"
}

# unpack_base FOLDER [PACKAGE]: the same of another processor, whose programs cannot run here: packages are unpacked, and what their scripts would do for us is done here.
unpack_base() {
  local apt=${1/rootfs/apt} deb
  apt_state "$apt" bookworm "$arch" || return 1
  APT_CONFIG=$apt/apt.conf apt-get install -y -qq --no-install-recommends --download-only \
    base-files base-passwd ca-certificates libicu72 libssl3 libstdc++6 zlib1g tzdata libopenjp2-7 libcharls2 ${2:+"$2"} || return 1
  mkdir -p "$1"/{dev,proc,sys,run,tmp,var/tmp} && chmod 1777 "$1/tmp" "$1/var/tmp"
  : >"$1.packages"
  for deb in "$apt"/cache/archives/*.deb; do
    dpkg -x "$deb" "$1" && dpkg-deb -f "$deb" Package Version | sed 's/^[A-Za-z]*: //' | paste -sd ' ' >>"$1.packages" || return 1
  done
  cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd" && cp "$1/usr/share/base-passwd/group.master" "$1/etc/group" || return 1
  cat "$1"/usr/share/ca-certificates/mozilla/*.crt >"$1/etc/ssl/certs/ca-certificates.crt"
}

build_one() {
  local name=$1 context=$work/$1-$arch rid=linux-x64 program dockerfile kind='' project
  [ "$name" != cli ] || kind=-tools
  base "${kind#-}"
  dockerfile=$root/$(folder_of "$name")/Dockerfile
  [ -e "$dockerfile" ] || dockerfile=$root/infra/docker/service.Dockerfile
  [ "$arch" = amd64 ] || rid=linux-arm64
  rm -rf "$context"
  mkdir -p "$context/app" "$context/empty"
  "$root/console/viewer/build.sh" >&2
  for project in $([ "$name" != cli ] || project_of host) "$(project_of "$name")"; do
    dotnet publish "$project" -c Release -r "$rid" --self-contained -o "$context/app" -nologo -v q -p:DebugType=none -p:GenerateDocumentationFile=false -p:RunAnalyzers=false >"$work/$name.log" 2>&1 ||
      { cat "$work/$name.log" >&2; exit 70; }
  done
  program=$(basename "$(project_of "$name")" .csproj)
  ln -s "Yizhan.$program" "$context/app/yizhan"
  : >"$context/empty/.keep"
  "${docker[@]}" build -q --platform "linux/$arch" -f "$dockerfile" --build-arg "BASE=localhost/yizhan/base$kind:12-$arch" \
    --build-arg "NAME=$name" --build-arg "VERSION=$version" -t "localhost/yizhan/$name:$version" "$context" >/dev/null
  python3 "$root/scripts/sbom.py" "$name" "$version" "$context/app/Yizhan.$program.deps.json" "$work/rootfs$kind-$arch.packages" >"$work/$name-$arch.sbom.json"
  size=$("${docker[@]}" image inspect --format '{{.Size}}' "localhost/yizhan/$name:$version")
  printf '%-12s %s  %d MB, of which base %d MB; SBOM of %d parts\n' "$name" "localhost/yizhan/$name:$version" $((size / 1000000)) \
    $(($("${docker[@]}" image inspect --format '{{.Size}}' "localhost/yizhan/base$kind:12-$arch") / 1000000)) "$(grep -c '"purl"' "$work/$name-$arch.sbom.json")"
  rm -rf "$context"
}

push_one() {
  local target=$registry/$1:$version digest
  [ "$registry" != localhost/yizhan ] || wrong "push needs --registry HOST/PATH."
  "${docker[@]}" tag "localhost/yizhan/$1:$version" "$target"
  "${docker[@]}" push -q "$target" >/dev/null
  digest=$("${docker[@]}" image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$target" | sed -n "s|^$registry/$1@||p" | head -n 1)
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "yizhan images: the registry gave no digest for $target." >&2; exit 1; }
  printf '{"critical":{"identity":{"docker-reference":"%s/%s"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":{"version":"%s"}}' \
    "$registry" "$1" "$digest" "$version" >"$work/$1.payload.json"
  rm -f "$work/$1.payload.sig"
  echo "$1 $registry/$1@$digest"
}

sign_one() {
  [ -f "$key" ] || wrong "sign needs --key FILE with a private key."
  [ -e "$work/$1.payload.json" ] || wrong "'$1' was not pushed: there is no digest to sign."
  openssl dgst -sha256 -sign "$key" "$work/$1.payload.json" | base64 -w0 >"$work/$1.payload.sig"
  echo "$1 signed: artifacts/images/$1.payload.json and .sig"
}

# The signature says which digest; what is at hand must have it. A local image has it in RepoDigests since push.
verify_one() {
  local wanted
  [ -f "$key" ] || wrong "verify needs --key FILE with the public key."
  base64 -d "$work/$1.payload.sig" >"$work/$1.payload.der" 2>/dev/null || { echo "yizhan images: '$1' has no signature." >&2; exit 1; }
  openssl dgst -sha256 -verify "$key" -signature "$work/$1.payload.der" "$work/$1.payload.json" >/dev/null 2>&1 ||
    { echo "yizhan images: the signature of '$1' is not of this payload and key." >&2; exit 1; }
  wanted=$(sed -n 's/.*"docker-manifest-digest":"\([^"]*\)".*/\1/p' "$work/$1.payload.json")
  "${docker[@]}" image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "localhost/yizhan/$1:$version" | grep -q "@$wanted\$" ||
    { echo "yizhan images: '$1' is signed as $wanted, and the image here is another one." >&2; exit 1; }
  echo "$1 $wanted"
}

case $mode in
  list)
    while read -r name folder; do
      if [ -n "$(project_of "$name")" ]; then echo "$name $folder"; else echo "$name $folder (not in this tree yet: no image)"; fi
    done < <(catalogue)
    ;;
  build)
    need_dotnet
    "${docker[@]}" version >/dev/null 2>&1 || { echo "yizhan images: there is no container engine; install docker, or run without containers: ./yizhan up" >&2; exit 69; }
    for name in "${names[@]}"; do build_one "$name"; done
    ;;
  *) for name in "${names[@]}"; do "${mode}_one" "$name"; done ;;
esac
[ -z "$json" ] || printf '{"mode":"%s","arch":"%s","version":"%s","images":["%s"]}\n' "$mode" "$arch" "$version" "$(printf '%s","' "${names[@]}" | sed 's/","$//')"
