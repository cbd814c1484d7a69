#!/usr/bin/env bash
# The bootstrap of a site's box on a Debian with systemd as its first process and no network but its loopback: with a stand-in for k3s, and with Docker
# and our image for real. Ends with "N passed, N failed, N skipped". The base image and the
# saved image of the host are of run.sh.
# shellcheck disable=SC2317 # What `expect` is given is called.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
# shellcheck source=../../scripts/build.sh
. "$root/scripts/build.sh"
work=$root/artifacts/containers
mkdir -p "$work"
# shellcheck source=lib.sh
. "$root/tests/containers/lib.sh"
box='' stick=$work/stick

finish() {
  local name
  for name in box-k3s box-cuts box-docker; do podman rm -f -t 5 "$name-$$" >/dev/null 2>&1; done
  podman volume rm "docker-$$" >/dev/null 2>&1
  summary "${1:-0}"
}
skip_all() {
  echo "skip  bootstrap: $1"
  finish 1
}
[ "$(id -u)" = 0 ] || skip_all "systemd in a container needs root"
(need_packages "systemd runs in a container" podman=podman runc=runc openssl=openssl jq=jq storescu=dcmtk) || skip_all "podman cannot be installed"
[ -e "$root/artifacts/images/rootfs-$(dpkg --print-architecture).tar" ] || skip_all "there is no base image; ./yizhan images build makes it"
debian_rootfs systemd systemd systemd-sysv dbus openssl docker.io iptables >"$work/systemd.log" 2>&1 || skip_all "systemd cannot be had: $(tail -n 1 "$work/systemd.log")"

# Limits that podman asks for by itself are more than some machines give.
mkdir -p "$work/podman"
cat >"$work/podman/containers.conf" <<'END'
[containers]
default_ulimits = ["nofile=20000:20000","nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
END
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/podman/graph" "$work/podman/run" >"$work/podman/storage.conf"
export CONTAINERS_CONF=$work/podman/containers.conf CONTAINERS_STORAGE_CONF=$work/podman/storage.conf
podman image exists localhost/yizhan-test/systemd:12 || podman import -q "$work/systemd.tar" localhost/yizhan-test/systemd:12 >"$work/import.log" 2>&1 ||
  skip_all "podman does not work here: $(tail -n 1 "$work/import.log")"

# boot NAME [OPTION...]: a box that is up. Sets box.
boot() {
  box=$1-$$
  shift
  podman run -d --name "$box" --systemd=always --network=none -v "$stick:/media/stick:ro" "$@" localhost/yizhan-test/systemd:12 /sbin/init >/dev/null && wait_until 60 is_up
}
is_up() { [[ $(podman exec "$box" systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]; }
on() { podman exec "$box" "$@"; }
install_from() { on /media/stick/edge/bootstrap.sh install --bundle "/media/stick/$1" --key /media/stick/bundle.pub --site minimal-clinic --json "${@:2}"; }
# exit_is CODE COMMAND...
exit_is() {
  local want=$1 got=0
  shift
  "$@" || got=$?
  [ "$got" = "$want" ] || { echo "exit $got, not $want: $*"; return 1; }
}

# ---- the stick: bootstrap, key and bundles
make_stick() {
  local arch keys=$work/stick-keys
  arch=$(dpkg --print-architecture)
  rm -rf "$stick" "$keys" && mkdir -p "$stick" "$keys/tls" && cp -r scripts/edge "$stick/edge" || return 1
  openssl ecparam -name prime256v1 -genkey -noout -out "$keys/bundle.pem" && openssl ec -in "$keys/bundle.pem" -pubout -out "$stick/bundle.pub" 2>/dev/null || return 1
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 400 -subj /CN=root -keyout "$keys/tls/root.key" -out "$keys/tls/root.crt" 2>/dev/null
  printf 'subjectAltName=URI:spiffe://yizhan/site/minimal-clinic\nextendedKeyUsage=clientAuth\n' >"$keys/tls/site.ext"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=minimal-clinic -keyout "$keys/tls/site.key" -out "$keys/tls/site.csr" 2>/dev/null
  openssl x509 -req -in "$keys/tls/site.csr" -CA "$keys/tls/root.crt" -CAkey "$keys/tls/root.key" -CAcreateserial -days 80 -extfile "$keys/tls/site.ext" -out "$keys/tls/site.crt" 2>/dev/null || return 1
  # Tells systemd that it is ready, as k3s does, and stays.
  # shellcheck disable=SC2016 # Perl expands it.
  printf '#!/usr/bin/perl\nuse IO::Socket::UNIX; use Socket;\nIO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET})->send("READY=1");\nsleep;\n' >"$keys/k3s" && chmod +x "$keys/k3s"
  local common=(--site minimal-clinic --key "$keys/bundle.pem" --root-certificate "$keys/tls/root.crt" --certificate "$keys/tls/site.crt" --certificate-key "$keys/tls/site.key")
  scripts/bundle.sh build "${common[@]}" --arch "$arch" --version 26.11.1 --bin "$keys/k3s" --out "$stick/k3s.tar" || return 1
  scripts/bundle.sh build "${common[@]}" --arch "$([ "$arch" = arm64 ] && echo amd64 || echo arm64)" --version 26.11.1 --bin "$keys/k3s" --out "$stick/foreign.tar" || return 1
  cp "$stick/k3s.tar" "$stick/tampered.tar"
  printf x | dd of="$stick/tampered.tar" bs=1 seek=$(($(stat -c %s "$stick/k3s.tar") / 2)) conv=notrunc status=none
  [ ! -e "$work/host.tar" ] || scripts/bundle.sh build "${common[@]}" --arch "$arch" --version 26.11.2 --image "$work/host.tar" --out "$stick/docker.tar"
}

no_network() { [ "$(on ls /sys/class/net)" = lo ]; }
nothing_there() { on test ! -e /var/lib/yizhan/bundles && on test ! -e /etc/yizhan && on test ! -e /usr/local/bin/k3s; }

refused() {
  exit_is 30 install_from tampered.tar && exit_is 30 install_from foreign.tar && exit_is 20 install_from k3s.tar --require-npu && nothing_there &&
    exit_is 50 install_from k3s.tar --runtime containerd && on test ! -e /usr/local/bin/k3s
}

first_run() { install_from k3s.tar && on systemctl is-active k3s.service && on systemctl is-enabled k3s.service && exit_is 0 on /usr/local/lib/yizhan/edge/bootstrap.sh verify; }
second_run() { install_from k3s.tar | tail -n 1 | tee "$work/second.json" && [ "$(jq .changes "$work/second.json")" = 0 ]; }
comes_back() { podman restart -t 10 "$box" >/dev/null && wait_until 60 is_up && on systemctl is-active k3s.service && second_run; }
killed_k3s() {
  local before
  before=$(on systemctl show -P MainPID k3s.service)
  on sh -c "kill -KILL $before" || return 1
  another() { [ "$(on systemctl show -P MainPID k3s.service)" != "$before" ] && on systemctl is-active --quiet k3s.service; }
  wait_until 60 another
}

# Each run makes one change and is killed, as a power cut would; the last one finds nothing left to do.
cut_at_every_step() {
  local cuts=0
  while ! podman exec -e YIZHAN_BOOTSTRAP_STOP_AFTER=1 "$box" /media/stick/edge/bootstrap.sh install --bundle /media/stick/k3s.tar --key /media/stick/bundle.pub --site minimal-clinic >"$work/cut.log" 2>&1; do
    cuts=$((cuts + 1))
    [ "$cuts" -lt 120 ] || { tail -n 5 "$work/cut.log"; return 1; }
  done
  echo "$cuts cuts"
  [ "$cuts" -ge 20 ] && on systemctl is-active k3s.service && second_run && exit_is 0 on /usr/local/lib/yizhan/edge/bootstrap.sh verify
}

# ---- docker for real
docker_is_up() { on docker info >/dev/null 2>&1; }
docker_run() {
  if ! { install_from docker.tar --runtime docker && on systemctl is-active yizhan.service; }; then
    on journalctl -u yizhan.service -n 20 --no-pager
    return 1
  fi
  healthy() { [ "$(on docker inspect --format '{{.State.Health.Status}}' yizhan-edge-1)" = healthy ]; }
  wait_until 120 healthy || { on docker logs --tail 20 yizhan-edge-1; return 1; }
  [ "$(on docker ps --format '{{.Names}}')" = yizhan-edge-1 ]
}
docker_second() { install_from docker.tar --runtime docker | tail -n 1 | tee "$work/second.json" && [ "$(jq .changes "$work/second.json")" = 0 ]; }
in_box() { nsenter --net="/proc/$(podman inspect --format '{{.State.Pid}}' "$box")/ns/net" "$@"; }
site_has() { on docker exec yizhan-edge-1 /app/yizhan --healthcheck && on sh -c 'find /var/lib/docker/volumes/yizhan_edge-data/_data/storage -type f -size +0 | grep -q .'; }
docker_study() { make_study 1 && in_box storescu -aet STORESCU -aec YIZHAN 127.0.0.1 11112 "$work"/study-1-*.dcm && site_has; }
docker_reboot() {
  podman restart -t 30 "$box" >/dev/null && wait_until 90 is_up && wait_until 90 docker_is_up && on systemctl is-active yizhan.service && wait_until 120 healthy && docker_second && docker_study
}
site_is_its_own() {
  local env
  env=$(on docker inspect --format '{{join .Config.Env "\n"}}' yizhan-edge-1)
  grep -qx 'YIZHAN_node__siteId=minimal-clinic' <<<"$env" && grep -qx 'YIZHAN_station__centreUrl=https://centre.example:8443' <<<"$env" &&
    on cmp /etc/yizhan/pki/site.crt /opt/yizhan/pki/certificate.pem && [ "$(on stat -c '%u %a' /opt/yizhan/pki/key.pem)" = "10001 600" ] && [ "$(on stat -c %a /opt/yizhan/.env)" = 600 ] && ! on grep -E '^[A-Z_]+=$' /opt/yizhan/.env
}

expect "a stick is made: bootstrap, key, bundles" make_stick
expect "a box boots with systemd and no network" boot box-k3s
expect "it has its loopback alone" no_network
expect "a tampered bundle, one of another processor, missing hardware: refused, and nothing is there; a missing runtime: refused" refused
expect "first run: the service of the site is enabled and runs" first_run
expect "second run: nothing changes" second_run
expect "after a reboot it runs, and a run changes nothing" comes_back
expect "a process that is killed comes back" killed_k3s
expect "another box boots" boot box-cuts
expect "cut off after each change, run by run, it ends installed" cut_at_every_step
skipped=0
compose=$(find "$work/compose" /usr/libexec/docker /usr/lib/docker -name docker-compose -path '*cli-plugins*' 2>/dev/null | head -n 1)
if [ -e "$stick/docker.tar" ] && [ -n "$compose" ]; then
  podman volume create "docker-$$" >/dev/null
  expect "a box with Docker boots" boot box-docker --privileged --cgroupns=private -v "docker-$$:/var/lib/docker" -v "$compose:/usr/libexec/docker/cli-plugins/docker-compose:ro"
  expect "its Docker is up" wait_until 60 docker_is_up
  expect "--runtime docker: the image is loaded and the station runs, healthy" docker_run
  expect "the station has the site's name, certificate and secrets of the box" site_is_its_own
  expect "a second run changes nothing" docker_second
  expect "a study is taken by the station" docker_study
  expect "after a reboot the station is back and takes another" docker_reboot
else
  echo "skip  --runtime docker: there is no saved image of the host (tests/containers/run.sh makes it), or no compose v2"
  skipped=1
fi
finish $skipped
