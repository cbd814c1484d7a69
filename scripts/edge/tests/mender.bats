#!/usr/bin/env bats
# Updates by Mender's own client, standalone: what is not signed is refused, what is signed waits until the site is idle, is installed by
# bootstrap.sh, and goes back when the station does not become healthy. The station itself is a stand-in that answers as it is told.

load helper

setup_file() { command -v mender >/dev/null && command -v mender-artifact >/dev/null || skip "mender-client and mender-artifact are not installed"; }

# mender_box: a box with 26.11.1 installed and Mender's client with the key whose artifacts it takes.
mender_box() {
  board x86 && bundle 26.11.1
  export YIZHAN_BOOTSTRAP_COMMANDS=yes YIZHAN_ROOT=$R YIZHAN_EDGE=$R/usr/local/lib/yizhan/edge YIZHAN_COMMIT_TRIES=1 ANSWERS=$BATS_TEST_TMPDIR/answers
  install_it --runtime docker
  openssl ecparam -name prime256v1 -genkey -noout -out "$K/artifacts.pem" && openssl ec -in "$K/artifacts.pem" -pubout -out "$K/artifacts.pub" 2>/dev/null
  mkdir -p "$BATS_TEST_TMPDIR"/{mender-data,etc-mender} "$ANSWERS"
  printf 'device_type=yizhan-amd64\n' >"$BATS_TEST_TMPDIR/etc-mender/device_type"
  printf '{"ArtifactVerifyKey":"%s","StateScriptRetryIntervalSeconds":1,"StateScriptRetryTimeoutSeconds":30,"DeviceTypeFile":"%s"}\n' \
    "$K/artifacts.pub" "$BATS_TEST_TMPDIR/etc-mender/device_type" >"$BATS_TEST_TMPDIR/etc-mender/mender.conf"
  echo artifact_name=factory >"$BATS_TEST_TMPDIR/etc-mender/artifact_info"
  # What `docker compose exec … /app/yizhan --idle` would answer; each question is written down.
  cat >"$BATS_TEST_TMPDIR/stubs/docker" <<'STUB'
#!/bin/sh
echo "docker $*" >>"$CALLS"
case "$*" in
  *--idle) [ ! -s "$ANSWERS/idle" ] || { code=$(head -n 1 "$ANSWERS/idle"); sed -i 1d "$ANSWERS/idle"; exit "$code"; } ;;
  *--healthcheck) exit "$(cat "$ANSWERS/health" 2>/dev/null || echo 0)" ;;
esac
STUB
}

# client ARGUMENT...: the real client with this test's folders; its place for modules is fixed, so the box's is mounted over it.
client() {
  unshare -m sh -c 'mount --bind "$0" /usr/share/mender/modules/v3 && mount --bind "$1" /etc/mender && shift && exec mender --no-syslog --log-level info "$@"' \
    "$R/usr/share/mender/modules/v3" "$BATS_TEST_TMPDIR/etc-mender" --data "$BATS_TEST_TMPDIR/mender-data" "$@"
}

artifact() { "$BATS_TEST_DIRNAME/../../bundle.sh" artifact --key "${1:-$K/artifacts.pem}" --out "$BATS_TEST_TMPDIR/a.mender" "$BATS_TEST_TMPDIR/b.tar"; }

tar_of_bundle() { tar -C "$B" -cf "$BATS_TEST_TMPDIR/b.tar" bundle.manifest bundle.manifest.sig $(cd "$B" && find . -type f ! -name 'bundle.manifest*' -printf '%P '); }

installed() { sed -n 's/.*"installed":"\([^"]*\)".*/\1/p' "$R/var/lib/yizhan/bootstrap.json"; }

# A new version as an artifact, installed by the client.
update() { bundle "$1" && tar_of_bundle && artifact "${2:-}" && run client install "$BATS_TEST_TMPDIR/a.mender"; }

asked() { grep -c -- "--$1\$" "$CALLS" || true; }

@test "signed: waits until the site is idle, is installed, and stays once the station is healthy" {
  mender_box
  printf '21\n21\n0\n0\n' >"$ANSWERS/idle"
  update 26.11.2
  [ "$status" = 0 ] && [ "$(asked idle)" = 4 ] && [ "$(installed)" = 26.11.2 ]
  run client commit
  [ "$status" = 0 ] && [ "$(asked healthcheck)" = 1 ] && [ "$(installed)" = 26.11.2 ]
}

@test "unsigned, or signed by another key: refused, nothing is asked and nothing changes" {
  mender_box && tree "$R" >"$BATS_TEST_TMPDIR/before"
  openssl ecparam -name prime256v1 -genkey -noout -out "$K/other.pem"
  update 26.11.2 "$K/other.pem"
  [ "$status" != 0 ] && says signature
  mender-artifact write module-image -T yizhan-bundle -n unsigned -t yizhan-amd64 -f "$BATS_TEST_TMPDIR/b.tar" -o "$BATS_TEST_TMPDIR/a.mender"
  run client install "$BATS_TEST_TMPDIR/a.mender"
  [ "$status" != 0 ] && says signature
  tree "$R" | diff "$BATS_TEST_TMPDIR/before" - && [ "$(asked idle)" = 0 ]
}

@test "signed for Mender, but the bundle in it is older or of another key: refused by the box, which stays as it was" {
  mender_box && update 26.11.2 && client commit && tree "$R" >"$BATS_TEST_TMPDIR/before"
  update 26.11.1
  [ "$status" != 0 ] && says "26.11.1 is older than 26.11.2"
  bundle 26.11.3 && openssl ecparam -name prime256v1 -genkey -noout -out "$K/thief.pem"
  openssl dgst -sha256 -sign "$K/thief.pem" "$B/bundle.manifest" | base64 -w0 >"$B/bundle.manifest.sig"
  tar_of_bundle && artifact && run client install "$BATS_TEST_TMPDIR/a.mender"
  [ "$status" != 0 ] && says bundle.signature
  tree "$R" | diff "$BATS_TEST_TMPDIR/before" -
}

@test "a site that never becomes idle, or a station that does not answer: the update is given up, never forced" {
  mender_box && tree "$R" >"$BATS_TEST_TMPDIR/before"
  sed -i 's/"StateScriptRetryTimeoutSeconds":30/"StateScriptRetryTimeoutSeconds":3/' "$BATS_TEST_TMPDIR/etc-mender/mender.conf"
  yes 21 | head -n 40 >"$ANSWERS/idle"
  update 26.11.2
  [ "$status" != 0 ] && [ "$(asked idle)" -ge 2 ]
  yes 1 | head -n 40 >"$ANSWERS/idle"
  run client install "$BATS_TEST_TMPDIR/a.mender"
  [ "$status" != 0 ] && says "what it has under way is not known"
  tree "$R" | diff "$BATS_TEST_TMPDIR/before" -
}

@test "an artifact without the waiting script does not cut off a study" {
  mender_box && tree "$R" >"$BATS_TEST_TMPDIR/before"
  yes 21 | head -n 40 >"$ANSWERS/idle"
  bundle 26.11.2 && tar_of_bundle
  mender-artifact write module-image -T yizhan-bundle -n bare -t yizhan-amd64 -f "$BATS_TEST_TMPDIR/b.tar" -k "$K/artifacts.pem" -o "$BATS_TEST_TMPDIR/a.mender"
  run client install "$BATS_TEST_TMPDIR/a.mender"
  [ "$status" != 0 ] && [ "$(installed)" = 26.11.1 ]
}

@test "a station that is not healthy with the new version: back to the old one" {
  mender_box
  update 26.11.2
  [ "$(installed)" = 26.11.2 ]
  echo 1 >"$ANSWERS/health"
  run client commit
  [ "$status" != 0 ]
  [ "$(installed)" = 26.11.2 ] && run client rollback
  [ "$(installed)" = 26.11.1 ]
}

@test "cut off in the middle: the client goes back, and every file is as before" {
  mender_box
  tree "$R" | grep -v /bundles/26.11.2 >"$BATS_TEST_TMPDIR/before"
  for after in 2 3; do
    export YIZHAN_BOOTSTRAP_STOP_AFTER=$after
    bundle 26.11.2 && echo "services: {new: {}}" >"$B/compose/docker-compose.yml" && seal && tar_of_bundle && artifact
    run client install "$BATS_TEST_TMPDIR/a.mender"
    unset YIZHAN_BOOTSTRAP_STOP_AFTER
    [ "$status" != 0 ] && [ "$(installed)" = 26.11.1 ]
    "$bootstrap" repair --root "$R"
    tree "$R" | grep -v -e /bundles/26.11.2 -e /loaded/ >"$BATS_TEST_TMPDIR/after"
    diff <(grep -v /loaded/ "$BATS_TEST_TMPDIR/before") "$BATS_TEST_TMPDIR/after"
  done
}
