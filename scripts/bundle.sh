#!/usr/bin/env bash
# Makes, verifies and unpacks the signed bundle from which scripts/edge/bootstrap.sh installs a site. `./yizhan bundle --help`.
set -euo pipefail
root_of_tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=edge/lib/report.sh
. "$root_of_tree/scripts/edge/lib/report.sh"
# shellcheck source=edge/lib/hardware.sh
. "$root_of_tree/scripts/edge/lib/hardware.sh"
# shellcheck source=edge/lib/bundle.sh
. "$root_of_tree/scripts/edge/lib/bundle.sh"

usage() {
  cat <<'END'
Usage: yizhan bundle build  --site ID --key PRIVATE.pem --root-certificate root.crt --out FILE.tar [options]
       yizhan bundle verify --key PUBLIC.pem FILE.tar
       yizhan bundle artifact --key PRIVATE.pem --out FILE.mender FILE.tar
       yizhan bundle unpack --key PUBLIC.pem --to FOLDER FILE.tar

artifact wraps a bundle for Mender's client: signed with a key of Mender's own, and with the script that waits until the site is idle. It needs
Debian's mender-artifact.

Options of build
  --site ID             sites/ID.yaml goes into it; --site-file FILE for another place
  --arch arm64|amd64    of the box; default arm64
  --version YY.MM.N     must grow: a box refuses an older one; default: year, month and 1
  --days N              how long it may be installed; default 90
  --bin FILE            k3s, nerdctl, containerd, runc (repeat)
  --image FILE.tar      of `docker save` (repeat); --engine takes those that `yizhan images build` made, with --arch
  --certificate FILE    the site's certificate, and --certificate-key FILE; without them the box makes its own key and a request
  --licence FILE        (repeat)       --model FOLDER    a model bundle (repeat)
  --register PLANE=DIR  manifests for fleet or argocd (repeat)
  --json                the last line is one JSON object

Examples
  yizhan bundle build --site hubei-lichuan --key bundle.pem --root-certificate root.crt --bin k3s --image host.tar --out lichuan.tar
  yizhan bundle verify --key bundle.pub lichuan.tar
END
}

wrong() {
  echo "yizhan bundle: $1" >&2
  exit 64
}

mode=${1:-} site='' site_file='' key='' to='' version='' arch=arm64 days=90 root_certificate='' certificate='' certificate_key='' engine='' file=''
bins=() images=() licences=() models=() registers=() out_file=''
case $mode in
  build | verify | unpack | artifact) shift ;;
  -h | --help | '') usage && exit 0 ;;
  *) wrong "'$mode' is not a mode; accepted: build, verify, unpack, artifact." ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --site | --site-file | --key | --to | --version | --arch | --days | --root-certificate | --certificate | --certificate-key | --out | --bin | --image | --licence | --model | --register)
      [ $# -gt 1 ] || wrong "$1 needs a value."
      ;;&
    --bin) bins+=("$2") && shift ;;
    --image) images+=("$2") && shift ;;
    --licence) licences+=("$2") && shift ;;
    --model) models+=("$2") && shift ;;
    --register) registers+=("$2") && shift ;;
    --out) out_file=$2 && shift ;;
    --site | --site-file | --key | --to | --version | --arch | --days | --root-certificate | --certificate | --certificate-key)
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift
      ;;
    --engine) engine=yes ;;
    --json) json=yes && out=2 ;;
    -h | --help) usage && exit 0 ;;
    -*) wrong "'$1' is not understood; see --help." ;;
    *)
      [ -z "$file" ] || wrong "'$1' is one too many."
      file=$1
      ;;
  esac
  shift
done
scratch='' && trap 'rm -rf "$scratch"' EXIT

# The architecture of what is bundled is looked at, not believed: ELF header of a binary, configuration of an image.
elf_machine() { [ "$(head -c 4 "$1" | od -An -tx1 | tr -d ' \n')" != 7f454c46 ] || od -An -tx1 -j18 -N1 "$1" | tr -d ' \n'; }

image_arch() {
  tar -xOf "$1" manifest.json 2>/dev/null | python3 -c '
import json, subprocess, sys
config = json.load(sys.stdin)[0]["Config"]
print(json.loads(subprocess.run(["tar", "-xOf", sys.argv[1], config], capture_output=True, check=True).stdout)["architecture"])' "$1" 2>/dev/null || echo unknown
}

build() {
  local f wanted=b7 created
  is_site_id "$site" || wrong "--site is $(printf %q "$site"); accepted: 1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'."
  [ -n "$site_file" ] || site_file=$root_of_tree/sites/$site.yaml
  [[ $arch =~ ^(arm64|amd64)$ ]] || wrong "--arch is '$arch'; accepted: arm64, amd64."
  [ -n "$version" ] || version=$(date -u +%y.%m).1
  [[ $version =~ ^[0-9]{2}\.(0[1-9]|1[0-2])\.[0-9]{1,6}$ ]] || wrong "--version is '$version'; accepted is YY.MM.N, such as 26.11.3."
  [[ $days =~ ^[0-9]{1,4}$ ]] || wrong "--days is '$days'; accepted is a number of days."
  [ -n "$out_file" ] || wrong "build needs --out FILE.tar."
  for f in "$site_file" "$key" "$root_certificate" "${bins[@]}" "${images[@]}" "${licences[@]}" ${certificate:+"$certificate" "$certificate_key"}; do
    [ -f "$f" ] || wrong "'$f' is not a file; needed are the site file, --key, --root-certificate and what else is named."
  done
  [ "$(sed -n 's/^siteId: *\([a-z0-9-]*\).*/\1/p' "$site_file")" = "$site" ] || wrong "$site_file is of another site than '$site'."
  [ "$arch" = arm64 ] || wanted=3e
  scratch=$(mktemp -d "$(dirname "$out_file")/.bundle-XXXXXX")
  local b=$scratch/b
  mkdir -p "$b"/{bin,images,pki,licences,models,compose,kubernetes}
  cp "$site_file" "$b/site.yaml"
  cp "$root_certificate" "$b/pki/root.crt"
  [ -z "$certificate" ] || { cp "$certificate" "$b/pki/site.crt" && cp "$certificate_key" "$b/pki/site.key"; }
  for f in "${bins[@]}"; do
    [[ $(elf_machine "$f") =~ ^($wanted)?$ ]] || wrong "$f is built for another processor than $arch (ELF machine 0x$(elf_machine "$f"))."
    cp "$f" "$b/bin/"
  done
  [ -z "$engine" ] || save_images
  for f in "${images[@]}"; do
    [ "$(image_arch "$f")" = "$arch" ] || wrong "$f is an image for '$(image_arch "$f")', not for $arch."
    cp "$f" "$b/images/"
  done
  for f in "${licences[@]}"; do cp "$f" "$b/licences/"; done
  for f in "${models[@]}"; do cp -rL "$f" "$b/models/"; done
  for f in "${registers[@]}"; do
    { [[ $f =~ ^(fleet|argocd)= ]] && [ -d "${f#*=}" ]; } || wrong "--register is '$f'; accepted: fleet=FOLDER or argocd=FOLDER."
    mkdir -p "$b/register" && cp -r "${f#*=}" "$b/register/${f%%=*}"
  done
  cp "$root_of_tree"/infra/docker/{docker-compose.yml,docker-compose.bahmni.yml,edge.yaml,centre.yaml,ingress.conf,flows.yaml,.env.example} "$b/compose/" && mv "$b/compose/.env.example" "$b/compose/env.example"
  if command -v kubectl >/dev/null; then kubectl kustomize "$root_of_tree/infra/k8s/overlays/edge" | sed "s/: site-1$/: $site/" >"$b/kubernetes/site.yaml"; fi
  find "$b" -type d -empty -delete
  created=$(date +%s)
  {
    printf 'yizhan-bundle 1\nsite %s\nversion %s\narch %s\ncreated %s\nexpires %s\n' "$site" "$version" "$arch" "$created" $((created + days * 86400))
    list_files "$b" | LC_ALL=C sort -k3 | sed 's/^/file /'
  } >"$scratch/manifest"
  mv "$scratch/manifest" "$b/bundle.manifest"
  openssl dgst -sha256 -sign "$key" "$b/bundle.manifest" | base64 -w0 >"$b/bundle.manifest.sig"
  # The list first: who reads a stream learns what comes before it comes.
  (cd "$b" && { printf '%s\n' bundle.manifest bundle.manifest.sig && sed -n 's/^file [0-9a-f]* [0-9]* //p' bundle.manifest; } >../names && tar --owner=0 --group=0 --mtime="@$created" -cf ../bundle.tar -T ../names)
  mv "$scratch/bundle.tar" "$out_file"
  echo "$out_file: $site $version for $arch, $(grep -c '^file ' "$b/bundle.manifest") files, $(stat -c %s "$out_file") bytes" >&"$out"
  [ -z "$json" ] || printf '{"file":%s,"site":"%s","version":"%s","arch":"%s","files":%d,"bytes":%d}\n' "$(quoted "$out_file")" "$site" "$version" "$arch" "$(grep -c '^file ' "$b/bundle.manifest")" "$(stat -c %s "$out_file")"
}

save_images() {
  local name
  mkdir -p "$scratch/saved"
  for name in $(docker image ls --format '{{.Repository}}:{{.Tag}}' 'localhost/yizhan/*' | grep -v '/base:'); do
    docker save -o "$scratch/saved/$(basename "${name%%:*}").tar" "$name"
    images+=("$scratch/saved/$(basename "${name%%:*}").tar")
  done
}

# The same checks as on the box, but for those of the box itself: its architecture and what was installed there.
verify() {
  [ -e "$file" ] || wrong "$mode needs a bundle; '$file' is none."
  [ -f "$key" ] || wrong "$mode needs --key FILE with the public key."
  node_arch() { field arch; }
  state() { :; }
  check_bundle "$file"
  [ "$mode" = verify ] || [ "$worst" != 0 ] || {
    [ -n "$to" ] || wrong "unpack needs --to FOLDER."
    [ ! -e "$to" ] || wrong "'$to' is there already."
    mkdir -p "$to.incoming" && tar -xf "$file" -C "$to.incoming" --no-same-owner && mv "$to.incoming" "$to"
  }
  [ -z "$json" ] || printf '{"mode":"%s","exit":%d,"checks":[%s]}\n' "$mode" "$worst" "$(IFS=,; echo "${checks[*]:-}")"
  exit "$worst"
}

# The device type is the architecture: a bundle says the rest itself.
artifact() {
  [ -f "$file" ] || wrong "artifact needs a bundle; '$file' is none."
  [ -f "$key" ] || wrong "artifact needs --key FILE with the private key of the artifacts."
  [ -n "$out_file" ] || wrong "artifact needs --out FILE.mender."
  command -v mender-artifact >/dev/null || wrong "mender-artifact is not installed; on Debian: apt-get install mender-artifact."
  scratch=$(mktemp -d) manifest=$scratch/bundle.manifest
  member "$file" bundle.manifest || wrong "'$file' has no bundle.manifest; make it with: yizhan bundle build."
  of_site=$(field site) version=$(field version) arch=$(field arch)
  mender-artifact write module-image -T yizhan-bundle -n "yizhan-$of_site-$version" -t "yizhan-$arch" -f "$file" -k "$key" \
    -s "$root_of_tree/scripts/edge/mender/ArtifactInstall_Enter_10_wait-idle" -o "$out_file" >&2
  echo "$out_file: $of_site $version for $arch, $(stat -c %s "$out_file") bytes" >&"$out"
  [ -z "$json" ] || printf '{"file":%s,"site":"%s","version":"%s","arch":"%s","bytes":%d}\n' "$(quoted "$out_file")" "$of_site" "$version" "$arch" "$(stat -c %s "$out_file")"
}

case $mode in build) build ;; artifact) artifact ;; *) verify ;; esac
