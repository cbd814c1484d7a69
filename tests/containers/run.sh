#!/usr/bin/env bash
# The compose stack, really run: our images, built here, in a container engine of their own in a network namespace of their own. A study
# goes through it, also over a cut line, a killed process and a restart. Ends with "N passed, N failed, N skipped".
# shellcheck disable=SC2317 # What `expect` is given is called.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"

work=$root/artifacts/containers net=yizhan-containers-$$
# shellcheck source=lib.sh
. "$root/tests/containers/lib.sh"

finish() {
  [ -z "${compose_up:-}" ] || stack down -v --timeout 20 >/dev/null 2>&1
  [ ! -e "$work/registry.pid" ] || { kill "$(cat "$work/registry.pid")" && rm "$work/registry.pid"; } 2>/dev/null
  [ ! -e "$work/engine.pid" ] || { kill "$(cat "$work/engine.pid")" && for _ in $(seq 60); do [ -e "$work/engine.pid" ] || break; sleep 0.5; done; } 2>/dev/null
  ip netns del "$net" 2>/dev/null
  summary "${1:-0}"
}

skip_all() {
  echo "skip  containers: $1"
  finish 1
}

inside() { nsenter --net="/run/netns/$net" "$@"; }
stack() { inside "$compose" --env-file "$work/env" -f infra/docker/docker-compose.yml --profile core --profile edge --profile data "$@"; }
stack_edge() { inside "$compose" --env-file "$work/env" -f infra/docker/docker-compose.yml --profile edge "$@"; }

[ "$(id -u)" = 0 ] || skip_all "the engine needs root"
ip netns add "$net" 2>/dev/null || skip_all "network namespaces are not permitted here"
need_packages "a container engine, and what speaks DICOM to it" dockerd=docker.io docker=docker.io iptables=iptables storescu=dcmtk curl=curl jq=jq debootstrap=debootstrap docker-registry=docker-registry skopeo=skopeo openssl=openssl ss=iproute2
mkdir -p "$work" && rm -f "$work"/*.pid
inside ip link set lo up

# ---- engine and compose
export DOCKER_HOST=unix://$work/docker.sock YIZHAN_DOCKER_HOST=unix://$work/docker.sock
inside dockerd --data-root "$work/engine" --exec-root "$work/exec" -p "$work/engine.pid" -H "$DOCKER_HOST" --insecure-registry 127.0.0.1:5000 >"$work/engine.log" 2>&1 &
wait_until 30 docker info >/dev/null 2>&1 || { tail -3 "$work/engine.log"; skip_all "the engine does not start here"; }

# Compose v2: the plugin of this machine, else Debian 13's package, which needs no more than libc.
compose=$(find /usr/libexec/docker /usr/lib/docker ~/.docker "$work/compose" -name docker-compose -path '*cli-plugins*' 2>/dev/null | head -n 1)
if [ -z "$compose" ]; then
  (apt_state "$work/apt" trixie "$(dpkg --print-architecture)" && cd "$work/apt" && export APT_CONFIG=$work/apt/apt.conf && apt-get download docker-compose && dpkg -x docker-compose_*.deb "$work/compose") >"$work/apt.log" 2>&1
  compose=$(find "$work/compose" -name docker-compose -path '*cli-plugins*' 2>/dev/null | head -n 1)
  [ -n "$compose" ] || skip_all "compose v2 cannot be had: $(tail -n 1 "$work/apt.log")"
fi

# ---- what is tested
sed -n 's/^\([A-Z_]*\)=$/\1/p' infra/docker/.env.example | while read -r name; do echo "$name=$(openssl rand -hex 12)"; done >"$work/secrets"
# Images of others are Debian's packages here, under their own names.
{ cat "$work/secrets" && printf '%s\n' ORTHANC_IMAGE=localhost/yizhan-test/orthanc:12 POSTGRES_IMAGE=localhost/yizhan-test/postgres:12 INGRESS_IMAGE=localhost/yizhan-test/ingress:12; } >"$work/env"

missing_secret_is_named() {
  local name
  cut -d= -f1 "$work/secrets" >"$work/names"
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
  diff <("$compose" --env-file "$work/env" -f infra/docker/docker-compose.yml --profile edge config --services | sort) <(printf '%s\n' edge espnet monai-infer orthanc pki site-ingress)
}

# study NUMBER
study() { make_study "$1" && inside storescu -aet STORESCU -aec YIZHAN 127.0.0.1 11112 "$work"/study-"$1"-*.dcm; }

# at NODE NUMBER: whether the node's archive has all three instances of the study. Its own listener is on the loopback of the container.
at() {
  local pid
  pid=$(docker inspect --format '{{.State.Pid}}' "yizhan-$1-1")
  # shellcheck disable=SC2016 # The inner shell expands them.
  nsenter --net="/proc/$pid/ns/net" bash -c 'root=$1 work=$2 && . "$1/tests/containers/lib.sh" && has_study http://127.0.0.1:8080 "$3" "$4"' sh "$root" "$work" "$(token_of "$1")" "$2"
}

token_of() { find "$(docker volume inspect --format '{{.Mountpoint}}' "yizhan_$1-data")" -path '*/identity/operator.token' 2>/dev/null | head -n 1; }

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
  # Not by `inside`: the process id has to be the registry's own, so that it is ended.
  nsenter --net="/run/netns/$net" docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
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

# as SERVICE URL [CURL OPTION...]: asks from within the container of that name, with the certificate of a service of flows.yaml; "nobody" has none.
as() {
  local who=$1 at=$2 url=$3 pki own=()
  shift 3
  pki=$(docker volume inspect --format '{{.Mountpoint}}' yizhan_services-pki)
  [ "$who" = nobody ] || own=(--cert "$pki/$who/tls.crt" --key "$pki/$who/tls.key")
  nsenter --net="/proc/$(docker inspect --format '{{.State.Pid}}' "yizhan-$at-1")/ns/net" curl -sS --max-time 20 --cacert "$pki/root.crt" "${own[@]}" "$@" "$url"
}

# flows.yaml: the station may call ai-infer, the console may not; Prometheus may call both, and nobody anything.
only_the_flow_list_comes_in() {
  local name=localhost
  as station monai-infer "https://$name:8081/v2/health/live" -f || return 1
  as prometheus espnet "https://$name:8081/metrics" -f -o /dev/null || return 1
  [ "$(as station monai-infer "https://$name:8081/v2/models/nodule" -o /dev/null -w '%{http_code}')" = 401 ] || { echo "a certificate without a token reads models"; return 1; }
  ! as ingress monai-infer "https://$name:8081/v2/health/live" -f || return 1
  ! as nobody monai-infer "https://$name:8081/v2/health/live" -f || return 1
  ! as station centre "https://$name:8081/healthz" -f || return 1
  as ingress centre "https://$name:8081/healthz" -f
}

# From outside: a certificate of the installation's own, the console's first page, sign-in, nothing without it, no figures.
browsers_come_in() {
  local root_file url=https://localhost:8444
  root_file=$(docker volume inspect --format '{{.Mountpoint}}' yizhan_site-pki)/root.crt
  page() { inside curl -sS --max-time 20 --cacert "$root_file" "$@"; }
  [ "$(page -o /dev/null -w '%{http_code}' "$url/healthz")" = 200 ] || return 1
  [ "$(page -o /dev/null -w '%{http_code}' "$url/metrics")" = 404 ] || return 1
  [ "$(page -o /dev/null -w '%{http_code}' "$url/pacs-gw/dicom-web/studies")" = 401 ] || return 1
  [ "$(page "$url/auth/.well-known/openid-configuration" | jq -r .issuer)" = "$url/auth" ] || return 1
  first_sign_in
}

# By the pages, as a browser does: the first password, the new one, then the console and its live connection.
first_sign_in() {
  local first new
  first=$(docker exec yizhan-centre-1 cat /data/auth/first-password) new=$(openssl rand -hex 12)
  rm -f "$work/cookies"
  seen() { page -H "Accept: text/html" -b "$work/cookies" -c "$work/cookies" "$@"; }
  mark() { sed -n 's/.*name="__RequestVerificationToken" value="\([^"]*\)".*/\1/p' "$work/page.html"; }
  seen -L "$url/" -o "$work/page.html" && seen --data-urlencode "__RequestVerificationToken=$(mark)" -d 'back=/&name=admin' --data-urlencode "password=$first" "$url/sign-in" -o "$work/page.html" &&
    seen --data-urlencode "__RequestVerificationToken=$(mark)" -d "back=/&name=admin&new=$new&again=$new" --data-urlencode "password=$first" "$url/sign-in/password" -o /dev/null || return 1
  [ "$(seen "$url/" -o "$work/page.html" -w '%{http_code}')" = 200 ] && grep -q '<title>[^<]*Yizhan' "$work/page.html" && ! grep -q 'action="/sign-in"' "$work/page.html" || return 1
  seen -H 'Sec-Fetch-Site: same-origin' -H "Origin: $url" -X POST "$url/_blazor/negotiate?negotiateVersion=1" | jq -e '.availableTransports[] | select(.transport == "WebSockets")'
}

# The site's Orthanc: a study that it has is sent on to the station, and is at the centre.
by_orthanc() {
  local password id orthanc=http://127.0.0.1:8042
  password=$(sed -n 's/^ORTHANC_PASSWORD=//p' "$work/env")
  ask() { inside curl -sf -u "yizhan:$password" "$@"; }
  make_study 5 && inside storescu -aet STORESCU -aec ORTHANC 127.0.0.1 4242 "$work"/study-5-*.dcm || return 1
  ! inside curl -sf "$orthanc/studies" || return 1
  id=$(ask "$orthanc/studies" | jq -r '.[0]')
  ask -X PUT "$orthanc/modalities/yizhan" -d '{"AET": "YIZHAN", "Host": "edge", "Port": 11112}' && ask "$orthanc/modalities/yizhan/store" -d "$id" && wait_until 90 at centre 5
}

postgres_answers() {
  [ "$(docker exec -e PGPASSWORD="$(sed -n 's/^POSTGRES_PASSWORD=//p' "$work/env")" yizhan-postgres-1 psql -h 127.0.0.1 -U yizhan -d yizhan -Atc 'select 6 * 7')" = 42 ] &&
    ! docker exec -e PGPASSWORD=wrong yizhan-postgres-1 psql -h 127.0.0.1 -U yizhan -d yizhan -Atc 'select 1'
}

# The authority's key is where the centre is, and nowhere else.
authority_stays_at_the_centre() {
  local id
  for id in edge monai-infer espnet ingress; do
    ! docker inspect --format '{{range .Mounts}}{{println .Name}}{{end}}' "yizhan-$id-1" | grep centre-pki || return 1
  done
  [ -z "$(find "$(docker volume inspect --format '{{.Mountpoint}}' yizhan_site-pki)" "$(docker volume inspect --format '{{.Mountpoint}}' yizhan_services-pki)" -name root.pem)" ]
}

images_of_others() {
  local name
  debian_rootfs third postgresql-15 orthanc nginx-light python3 curl || return 1
  if ! { [ "$work/third.imported" -nt "$work/third.tar" ] && docker image inspect localhost/yizhan-test/third:12 >/dev/null 2>&1; }; then
    docker import "$work/third.tar" localhost/yizhan-test/third:12 && : >"$work/third.imported" || return 1
  fi
  for name in orthanc postgres ingress; do
    DOCKER_BUILDKIT=0 docker build -q --target "$name" -t "localhost/yizhan-test/$name:12" tests/containers/images || return 1
  done
}

# The settings that infra/k8s/base gives its Deployments, in one process: each is known, and each port that is declared can be reached from outside the pod.
manifests_are_taken() {
  local id pid wanted
  python3 infra/tests/settings.py YIZHAN_node__dataFolder=/data YIZHAN_service-tls__certificatePath=/pki/services/console/tls.crt YIZHAN_service-tls__keyPath=/pki/services/console/tls.key \
    YIZHAN_service-tls__rootPath=/pki/services/root.crt >"$work/settings" || return 1
  id=$(docker run -d --rm --network none --env-file "$work/settings" -v yizhan_services-pki:/pki/services:ro -v "$root/infra/flows.yaml:/etc/yizhan/flows/flows.yaml:ro" \
    "localhost/yizhan/host:$(sed -n 's/^version: *//p' infra/images.lock)" centre) || return 1
  pid=$(docker inspect --format '{{.State.Pid}}' "$id")
  # The health check reads the address out of the settings, as the probes do.
  taken() { docker exec "$id" /app/yizhan --healthcheck; }
  wait_until 180 taken || { docker logs --tail 5 "$id"; return 1; }
  wanted=$(sed -n 's/^# //p' "$work/settings" | tr ' ' '\n')
  nsenter --net="/proc/$pid/ns/net" ss -Hltn | awk '$4 !~ /^127\./ { sub(/.*:/, "", $4); print $4 }' | sort -n | diff - <(sort -n <<<"$wanted")
  wanted=$?
  docker stop -t 20 "$id" >/dev/null
  return "$wanted"
}

# Its programs cannot run here; ./check arm64 runs them under qemu.
foreign_image() {
  local other=arm64 machine=b7 image id
  [ "$(dpkg --print-architecture)" != arm64 ] || { other=amd64 machine=3e; }
  image=localhost/yizhan/host:$(sed -n 's/^version: *//p' infra/images.lock)
  scripts/images.sh build host --arch "$other" && [ "$(docker image inspect --format '{{.Architecture}}' "$image")" = "$other" ] || return 1
  id=$(docker create --platform "linux/$other" "$image")
  [ "$(docker cp "$id:/app/Yizhan.Host" - | tar -xO | od -An -tx1 -j18 -N1 | tr -d ' ')" = "$machine" ] && docker cp "$id:/usr/share/zoneinfo/Asia/Shanghai" "$work/shanghai"
}

expect "a missing secret stops the start with its name, each of them" missing_secret_is_named
expect "the profile edge is orthanc, monai-infer, espnet and what they need" edge_profile_is_exact
expect "an image that there is not is refused with those that there are" images_of_what_is_not_there
expect "the images of host, ai-infer and nmt-asr are built on Debian packages" scripts/images.sh build host ai-infer nmt-asr
grep -a ' MB, ' "$work/run.log"
# For bootstrap.sh, which brings it to a box.
docker save -o "$work/host.tar" "localhost/yizhan/host:$(sed -n 's/^version: *//p' infra/images.lock)" 2>/dev/null || rm -f "$work/host.tar"
expect "PostgreSQL, Orthanc and nginx are built of Debian packages" images_of_others
compose_up=yes
alone_up() { stack_edge up -d --wait && [ "$(stack_edge ps --services | sort | tr '\n' ' ')" = "edge espnet monai-infer orthanc site-ingress " ]; }
expect "the profile edge comes up healthy, all of it and nothing else" alone_up
expect "centre, ingress and database come up healthy beside it" stack up -d --wait centre edge ingress postgres
expect "no root, no capabilities, nothing writable but the data" hardened
expect "the health check says yes to a node and no to none" health_is_asked
expect "a service lets in who the flow list names, and nobody else" only_the_flow_list_comes_in
expect "the authority's key is at the centre alone" authority_stays_at_the_centre
expect "browsers come in by the ingress, with a certificate of the installation" browsers_come_in
sent() { study 1 && wait_until 60 at edge 1 && wait_until 60 at centre 1; }
expect "the settings of the manifests are taken, and their ports are listened on" manifests_are_taken
expect "a study sent by storescu is at the centre" sent
expect "a study that Orthanc sends on is at the centre" by_orthanc
expect "PostgreSQL answers with its password alone" postgres_answers
expect "a study sent while the line is cut is at the centre after" over_a_cut_line
expect "a process that is killed inside comes back and ships on" kill_inside
expect "a restart keeps every study" keeps_after_restart
expect "a site works while there is no centre" alone
expect "the image is pushed, signed and verified without a network; another key or digest is refused" push_sign_verify
expect "the image of the host is built for the other processor" foreign_image
grep -a ' MB, ' "$work/run.log"
finish
