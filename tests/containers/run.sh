#!/usr/bin/env bash
# The compose stack, really run: our images, built here, in a container engine of their own in a network namespace of their own. A study
# goes through it, also over a cut line, a killed process and a restart. Ends with "N passed, N failed, N skipped".
# shellcheck disable=SC2317 # What `expect` is given is called.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"

passed=0 failed=0
work=$root/artifacts/containers net=yizhan-containers-$$

finish() {
  [ -z "${compose_up:-}" ] || stack down -v --timeout 20 >/dev/null 2>&1
  [ ! -e "$work/registry.pid" ] || { kill "$(cat "$work/registry.pid")" && rm "$work/registry.pid"; } 2>/dev/null
  [ ! -e "$work/engine.pid" ] || { kill "$(cat "$work/engine.pid")" && for _ in $(seq 60); do [ -e "$work/engine.pid" ] || break; sleep 0.5; done; } 2>/dev/null
  ip netns del "$net" 2>/dev/null
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "${1:-0}"
  [ "$failed" = 0 ]
  exit
}

skip_all() {
  echo "skip  containers: $1"
  finish 1
}

# test NAME COMMAND...: output is shown when it fails.
expect() {
  local name=$1 from=$SECONDS
  shift
  if "$@" >"$work/last.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok    $name ($((SECONDS - from)) s)"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    tail -n 20 "$work/last.log" | sed 's/^/      /'
  fi
}

inside() { nsenter --net="/run/netns/$net" "$@"; }
stack() { inside "$compose" --env-file "$work/env" -f infra/docker/docker-compose.yml --profile core --profile edge "$@"; }

# until SECONDS COMMAND...
wait_until() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $until ] || { echo "not within the time: $*"; return 1; }
    sleep 1
  done
}

[ "$(id -u)" = 0 ] || skip_all "the engine needs root"
ip netns add "$net" 2>/dev/null || skip_all "network namespaces are not permitted here"
need_packages "a container engine, and what speaks DICOM to it" dockerd=docker.io docker=docker.io iptables=iptables storescu=dcmtk curl=curl docker-registry=docker-registry skopeo=skopeo openssl=openssl
mkdir -p "$work" && rm -f "$work"/*.pid
inside ip link set lo up

# ---- engine and compose
export DOCKER_HOST=unix://$work/docker.sock YIZHAN_DOCKER_HOST=unix://$work/docker.sock
inside dockerd --data-root "$work/engine" --exec-root "$work/exec" -p "$work/engine.pid" -H "$DOCKER_HOST" --insecure-registry 127.0.0.1:5000 >"$work/engine.log" 2>&1 &
wait_until 30 docker info >/dev/null 2>&1 || { tail -3 "$work/engine.log"; skip_all "the engine does not start here"; }

# Compose v2: the plugin of this machine, else Debian 13's package, which needs no more than libc.
compose=$(find /usr/libexec/docker /usr/lib/docker ~/.docker "$work/compose" -name docker-compose -path '*cli-plugins*' 2>/dev/null | head -n 1)
if [ -z "$compose" ]; then
  # shellcheck disable=SC2016 # apt's own variable.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  mkdir -p "$work"/apt/{lists/partial,cache/archives/partial,state} && : >"$work/apt/state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/apt/sources.list"
  printf 'Dir::State "%s"; Dir::State::lists "%s"; Dir::Cache "%s"; Dir::Etc::sourcelist "%s"; Dir::Etc::sourceparts "-"; Dir::State::status "%s";\n' \
    "$work/apt/state" "$work/apt/lists" "$work/apt/cache" "$work/apt/sources.list" "$work/apt/state/status" >"$work/apt/apt.conf"
  (cd "$work/apt" && export APT_CONFIG=$work/apt/apt.conf && apt-get update -qq && apt-get download docker-compose && dpkg -x docker-compose_*.deb "$work/compose") >"$work/apt.log" 2>&1
  compose=$(find "$work/compose" -name docker-compose -path '*cli-plugins*' 2>/dev/null | head -n 1)
  [ -n "$compose" ] || skip_all "compose v2 cannot be had: $(tail -n 1 "$work/apt.log")"
fi

# ---- what is tested
sed -n 's/^\([A-Z_]*\)=$/\1/p' infra/docker/.env.example | while read -r name; do echo "$name=$(openssl rand -hex 12)"; done >"$work/env"

missing_secret_is_named() {
  local name
  cut -d= -f1 "$work/env" >"$work/names"
  while read -r name; do
    grep -v "^$name=" "$work/env" >"$work/env.less"
    if "$compose" --env-file "$work/env.less" -f infra/docker/docker-compose.yml --profile edge config -q 2>"$work/said"; then
      echo "the stack would start without $name"
      return 1
    fi
    grep -q "$name is missing a value: set $name in infra/docker/.env" "$work/said" || { cat "$work/said"; return 1; }
  done <"$work/names"
}

edge_profile_is_exact() {
  diff <("$compose" --env-file "$work/env" -f infra/docker/docker-compose.yml --profile edge config --services | sort) <(printf '%s\n' edge espnet monai-infer orthanc pki)
}

# study NUMBER: three instances of CT, Explicit VR Little Endian.
study() {
  local i
  for i in 1 2 3; do
    cat >"$work/dump" <<END
(0008,0016) UI =CTImageStorage
(0008,0018) UI [1.2.826.0.1.3680043.10.9.$1.1.$i]
(0008,0020) DA [20260101]
(0008,0060) CS [CT]
(0010,0010) PN [TEST^CONTAINER]
(0010,0020) LO [C$1]
(0020,000d) UI [1.2.826.0.1.3680043.10.9.$1]
(0020,000e) UI [1.2.826.0.1.3680043.10.9.$1.1]
(0020,0013) IS [$i]
(0028,0002) US 1
(0028,0004) CS [MONOCHROME2]
(0028,0010) US 2
(0028,0011) US 2
(0028,0100) US 16
(0028,0101) US 16
(0028,0102) US 15
(0028,0103) US 0
(7fe0,0010) OW 0001\\0002\\0003\\0004
END
    dump2dcm +te "$work/dump" "$work/study-$1-$i.dcm" >/dev/null 2>&1 || return 1
  done
  inside storescu -aet STORESCU -aec YIZHAN 127.0.0.1 11112 "$work"/study-"$1"-*.dcm
}

# at NODE NUMBER: whether the node's archive has all three instances of the study. The web listener is on the loopback of the container.
at() {
  local pid token header=()
  pid=$(docker inspect --format '{{.State.Pid}}' "yizhan-$1-1")
  token=$(find "$(docker volume inspect --format '{{.Mountpoint}}' "yizhan_$1-data")" -name operator.token 2>/dev/null | head -n 1)
  [ -z "$token" ] || header=(-H "Authorization: Bearer $(cat "$token")")
  nsenter --net="/proc/$pid/ns/net" curl -sf "${header[@]}" "http://127.0.0.1:8080/pacs-gw/dicom-web/studies?StudyInstanceUID=1.2.826.0.1.3680043.10.9.$2&includefield=00201208" |
    grep -q '"00201208":{"vr":"IS","Value":\["\?3'
}

not_at() { ! at "$@"; }

over_a_cut_line() {
  local pid region
  region=$(docker network ls --format '{{.Name}}' | grep region)
  docker network disconnect "$region" yizhan-edge-1 || return 1
  study 2 || return 1
  wait_until 30 at edge 2 && not_at centre 2 || return 1
  docker network connect "$region" yizhan-edge-1 && wait_until 120 at centre 2
}

# `docker kill` counts as stopped by hand and is not restarted, so the process is killed from inside.
kill_inside() {
  local before after
  before=$(docker inspect --format '{{.State.Pid}}' yizhan-edge-1)
  kill -KILL "$before" || return 1
  restarted() { after=$(docker inspect --format '{{.State.Pid}}' yizhan-edge-1) && [ "$after" != "$before" ] && [ "$(docker inspect --format '{{.State.Health.Status}}' yizhan-edge-1)" = healthy ]; }
  wait_until 90 restarted && study 3 && wait_until 90 at centre 3
}

keeps_after_restart() {
  stack restart centre edge && wait_until 90 at centre 1 && at centre 2 && at centre 3 && at edge 1
}

alone() {
  stack stop centre && study 4 && wait_until 30 at edge 4 && stack start centre && wait_until 120 at centre 4
}

hardened() {
  local id
  for id in yizhan-centre-1 yizhan-edge-1; do
    [ "$(docker inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' "$id")" = "10001:10001 true [ALL]" ] || return 1
    grep -q '^CapEff:.0000000000000000$' "/proc/$(docker inspect --format '{{.State.Pid}}' "$id")/status" || return 1
    grep -q '^NoNewPrivs:.1$' "/proc/$(docker inspect --format '{{.State.Pid}}' "$id")/status" || return 1
    # Nothing but the data is writable: the authority cannot be made beside the program.
    ! docker exec "$id" /app/yizhan issue site-9 --ca /app/ca --out /app/ca || return 1
  done
}

health_is_asked() {
  docker exec yizhan-edge-1 /app/yizhan --healthcheck && ! docker exec yizhan-edge-1 /app/yizhan --healthcheck http://127.0.0.1:9
}

push_sign_verify() {
  local keys=$work/keys
  rm -rf "$keys" "$work/registry" && mkdir -p "$keys" "$work/registry"
  printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:5000"}\n' "$work/registry" >"$work/registry.yml"
  inside docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  echo $! >"$work/registry.pid"
  wait_until 20 inside curl -sf http://127.0.0.1:5000/v2/ || return 1
  for k in a b; do openssl ecparam -name prime256v1 -genkey -noout -out "$keys/$k.pem" && openssl ec -in "$keys/$k.pem" -pubout -out "$keys/$k.pub" 2>/dev/null; done
  scripts/images.sh push --registry 127.0.0.1:5000/yizhan host && scripts/images.sh sign --key "$keys/a.pem" host && scripts/images.sh verify --key "$keys/a.pub" host || return 1
  ! scripts/images.sh verify --key "$keys/b.pub" host || return 1
  # Another image under the signed name.
  sed -i 's/sha256:[0-9a-f]\{4\}/sha256:0000/' artifacts/images/host.payload.json
  ! scripts/images.sh verify --key "$keys/a.pub" host
}

images_of_what_is_not_there() {
  ! scripts/images.sh build nmt-asr-servic 2>"$work/said" && grep -q "there is no image 'nmt-asr-servic'; there are: " "$work/said"
}

expect "a missing secret stops the start with its name, each of them" missing_secret_is_named
expect "the profile edge is orthanc, monai-infer, espnet and what they need" edge_profile_is_exact
expect "an image that there is not is refused with those that there are" images_of_what_is_not_there
expect "the image of the host is built on Debian packages" scripts/images.sh build host
grep ' MB, ' "$work/last.log"
compose_up=yes
expect "centre and edge come up healthy" stack up -d --wait centre edge
expect "no root, no capabilities, nothing writable but the data" hardened
expect "the health check says yes to a node and no to none" health_is_asked
sent() { study 1 && wait_until 60 at edge 1 && wait_until 60 at centre 1; }
expect "a study sent by storescu is at the centre" sent
expect "a study sent while the line is cut is at the centre after" over_a_cut_line
expect "a process that is killed inside comes back and ships on" kill_inside
expect "a restart keeps every study" keeps_after_restart
expect "a site works while there is no centre" alone
expect "the image is pushed, signed and verified without a network; another key or digest is refused" push_sign_verify
finish
