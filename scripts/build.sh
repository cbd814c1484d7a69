# shellcheck shell=bash
# Sourced by ./yizhan and ./check.

: "${root:?the script that sources this sets root to the top of the tree}"

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_CLI_UI_LANGUAGE=en

need_dotnet() {
  if ! command -v dotnet >/dev/null; then
    echo "yizhan: the .NET SDK 10 is needed and 'dotnet' is not on PATH. Install it, then run this again." >&2
    exit 69
  fi
}

# need_packages WHY COMMAND=PACKAGE...: installs the Debian packages whose command (or file, when it starts with /) is missing.
need_packages() {
  local why=$1 pair missing=()
  shift
  for pair in "$@"; do
    case "${pair%%=*}" in
      /*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
      *) command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "Installing ${missing[*]}: $why" >&2
  if [ "$(id -u)" != 0 ]; then
    echo "yizhan: run this once as root, or install them yourself: apt-get install ${missing[*]}" >&2
    exit 77
  fi
  # Debian starts what it installs; a PACS that listens on every address is not wanted here, so services stay down.
  local policy=/usr/sbin/policy-rc.d made=""
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=yes
  fi
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$root/artifacts/apt.log" 2>&1; then
    [ -z "$made" ] || rm -f $policy
    tail -5 "$root/artifacts/apt.log" >&2
    echo "yizhan: ${missing[*]} could not be installed; see artifacts/apt.log." >&2
    exit 69
  fi
  [ -z "$made" ] || rm -f $policy
}

# apt_state FOLDER SUITE ARCH: an apt of its own there (FOLDER/apt.conf), that knows the packages of SUITE and ARCH from this machine's mirror.
apt_state() {
  local mirror
  # shellcheck disable=SC2016 # apt's own variable.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  mkdir -p "$1"/{lists/partial,cache/archives/partial,state} && : >"$1/state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $2 main" >"$1/sources.list"
  printf 'APT::Architecture "%s"; Dir::State "%s"; Dir::State::lists "%s"; Dir::Cache "%s"; Dir::Etc::sourcelist "%s"; Dir::Etc::sourceparts "-"; Dir::State::status "%s";\n' \
    "$3" "$1/state" "$1/lists" "$1/cache" "$1/sources.list" "$1/state/status" >"$1/apt.conf"
  APT_CONFIG=$1/apt.conf apt-get update -qq
}

# need_codecs: the libraries that pacs-gw decodes images with; a node does not start without them.
need_codecs() {
  local libraries
  libraries=/usr/lib/$(uname -m)-linux-gnu
  need_packages "JPEG 2000 and JPEG-LS images" "$libraries/libopenjp2.so.7=libopenjp2-7" "$libraries/libcharls.so.2=libcharls2"
}

# build_if_needed PROJECT: Release build, unless no source is newer than the last one. Its output is shown only when it fails.
build_if_needed() {
  local project=$1 stamp log started
  stamp="$root/artifacts/.built-$(basename "$project")"
  log="$root/artifacts/build.log"
  need_dotnet
  mkdir -p "$root/artifacts"
  if [ -e "$stamp" ] && [ -z "$(find "$root" \( -path "$root/artifacts" -o -path "$root/.git" -o -path "$root/.yizhan" -o -name node_modules \) -prune \
      -o -type f \( -name '*.cs' -o -name '*.csproj' -o -name '*.props' -o -name '*.razor' -o -name '*.css' -o -name '*.js' -o -name '*.sql' -o -name '*.tsv' -o -name '*.txt' \) \
      -newer "$stamp" -print -quit)" ]; then
    return
  fi
  "$root/console/viewer/build.sh" >&2
  started=$(mktemp)
  echo "Building Yizhan (once; a minute or two) ..." >&2
  if ! dotnet build "$root/$project" -c Release -nologo -v q -clp:NoSummary >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$started"
    echo "yizhan: the build failed; the log is above and in artifacts/build.log." >&2
    exit 70
  fi
  mv "$started" "$stamp"
}
