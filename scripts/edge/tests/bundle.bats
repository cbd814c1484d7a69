#!/usr/bin/env bats
# What makes a bundle: it installs, and it refuses to be built of the wrong things.

load helper

bundle_sh() { "$BATS_TEST_DIRNAME/../../bundle.sh" "$@"; }

built() {
  [ -e "$K/bundle.pem" ] || keys
  for name in k3s nerdctl; do elf b7 >"$K/$name"; done
  image arm64 "$K/host.tar"
  printf 'siteId: test-site\n' >"$K/test-site.yaml"
  bundle_sh build --site test-site --site-file "$K/test-site.yaml" --key "$K/bundle.pem" --root-certificate "$K/root.crt" --certificate "$K/site.crt" --certificate-key "$K/site.key" \
    --bin "$K/k3s" --bin "$K/nerdctl" --image "$K/host.tar" --version 26.11.4 --out "$K/b.tar" "$@"
}

# image ARCH FILE: what `docker save` writes, as far as anybody looks.
image() {
  mkdir -p "$K/i" && printf '[{"Config":"c.json"}]' >"$K/i/manifest.json" && printf '{"architecture":"%s"}' "$1" >"$K/i/c.json" && tar -C "$K/i" -cf "$2" manifest.json c.json
}

@test "what is built verifies, unpacks, and installs" {
  board rock-5b
  exit_is 0 built
  exit_is 0 bundle_sh verify --key "$K/bundle.pub" "$K/b.tar" --json
  says '"exit":0'
  exit_is 0 bundle_sh unpack --key "$K/bundle.pub" --to "$K/unpacked" "$K/b.tar"
  cmp "$K/unpacked/images/host.tar" "$K/host.tar"
  exit_is 0 "$bootstrap" install --root "$R" --bundle "$K/b.tar" --key "$K/bundle.pub" --site test-site
  grep -q 'test-site' "$R/etc/yizhan/site.yaml"
}

@test "one flipped byte anywhere: 30, and nothing is unpacked" {
  built
  size=$(stat -c %s "$K/b.tar") flipped=0
  for at in 600 $((size / 4)) $((size / 3)) $((size / 2)) $((size * 2 / 3)); do
    python3 - "$K/b.tar" "$K/bad.tar" "$at" <<'PY'
import sys
data = bytearray(open(sys.argv[1], 'rb').read()); at = int(sys.argv[3])
while data[at] == 0: at += 1  # padding between members says nothing
data[at] ^= 1; open(sys.argv[2], 'wb').write(data)
PY
    run bundle_sh unpack --key "$K/bundle.pub" --to "$K/bad" "$K/bad.tar"
    [ "$status" = 30 ] && [ ! -e "$K/bad" ] || { echo "byte $at: $status $output"; false; }
    flipped=$((flipped + 1))
  done
  [ "$flipped" = 5 ]
}

@test "another key, another site's file, a foreign binary or image, a version that is none" {
  built
  openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out "$K/other.pub" 2>/dev/null
  exit_is 30 bundle_sh verify --key "$K/other.pub" "$K/b.tar"
  exit_is 64 built --site '$(touch x)' && says "accepted: 1 to 63"
  exit_is 64 built --site other-site && says "of another site"
  exit_is 64 built --version 26.13.1 && says "accepted is YY.MM.N"
  elf 3e >"$K/foreign" && exit_is 64 built --bin "$K/foreign" && says "ELF machine 0x3e"
  image amd64 "$K/foreign.tar" && exit_is 64 built --image "$K/foreign.tar" && says "an image for 'amd64', not for arm64"
}
