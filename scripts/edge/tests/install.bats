#!/usr/bin/env bats
# From a bundle to an installed box: bundles that are refused, runs that are repeated, cut off, or on a full disk.

load helper

untouched() { [ ! -e "$R/var/lib/yizhan/bundles" ] && [ ! -e "$R/etc/yizhan" ] || { find "$R/var/lib/yizhan" "$R/etc/yizhan" >&2; return 1; }; }

@test "k3s: files, modes and the enabled service; nothing asks a network" {
  board rock-5b && bundle
  exit_is 0 install_it
  [ -x "$R/usr/local/bin/k3s" ] && [ "$(stat -c %a "$R/etc/yizhan/pki/site.key")" = 600 ] && [ "$(stat -c %a "$R/etc/yizhan/licences/lung-nodule.json")" = 600 ]
  cmp "$R/var/lib/rancher/k3s/agent/images/orthanc.tar" "$B/images/orthanc.tar"
  grep -qx 'node-label: \[yizhan.io/site=test-site, yizhan.io/npu=rknpu\]' "$R/etc/rancher/k3s/config.yaml"
  [ -L "$R/etc/systemd/system/multi-user.target.wants/k3s.service" ]
  ! grep NETWORK "$CALLS"
}

@test "a second run changes nothing, from a folder and from a tar file" {
  board orange-pi-5 && bundle
  install_it
  tree "$R" >"$BATS_TEST_TMPDIR/first"
  exit_is 0 install_it --json
  says '"changes":0'
  tree "$R" | diff "$BATS_TEST_TMPDIR/first" -
  tar -C "$B" -cf "$BATS_TEST_TMPDIR/b.tar" bundle.manifest bundle.manifest.sig $(cd "$B" && find . -type f ! -name 'bundle.manifest*' -printf '%P ')
  exit_is 0 "$bootstrap" install --root "$R" --bundle "$BATS_TEST_TMPDIR/b.tar" --json
  says '"changes":0'
}

@test "cut off after each change, the next run ends with the same tree" {
  board rock-5b && bundle
  # Made by chance at the first run, and the two trees are compared.
  mkdir -p "$R/etc/yizhan" && echo ORTHANC_PASSWORD=x >"$R/etc/yizhan/secrets.env"
  mkdir "$BATS_TEST_TMPDIR/whole" && cp -a "$R/." "$BATS_TEST_TMPDIR/whole/"
  R=$BATS_TEST_TMPDIR/whole install_it
  total=$(R=$BATS_TEST_TMPDIR/whole tree "$BATS_TEST_TMPDIR/whole" | tee "$BATS_TEST_TMPDIR/want" | wc -l)
  [ "$total" -gt 40 ]
  cuts=0
  for after in $(seq 1 60); do
    copy=$BATS_TEST_TMPDIR/cut
    rm -rf "$copy" && cp -a "$R" "$copy"
    if YIZHAN_BOOTSTRAP_STOP_AFTER=$after R=$copy install_it >/dev/null 2>&1; then break; fi
    cuts=$after
    R=$copy install_it >/dev/null
    tree "$copy" | diff "$BATS_TEST_TMPDIR/want" -
  done
  [ "$cuts" -ge 15 ]
}

@test "one flipped byte in any file of the bundle: 30, and the box is untouched" {
  board rock-5b && bundle
  while read -r file; do
    cp -r "$B" "$BATS_TEST_TMPDIR/bad"
    python3 - "$BATS_TEST_TMPDIR/bad/$file" <<'PY'
import sys
data = bytearray(open(sys.argv[1], 'rb').read()); data[len(data) // 2] ^= 1; open(sys.argv[1], 'wb').write(data)
PY
    B=$BATS_TEST_TMPDIR/bad exit_is 30 install_it
    says "fix: "
    untouched
    rm -r "$BATS_TEST_TMPDIR/bad"
  done < <(cd "$B" && find . -type f)
}

@test "a damaged tar file is a wrong bundle, not a crash" {
  board rock-5b && bundle
  tar -C "$B" -cf "$BATS_TEST_TMPDIR/b.tar" bundle.manifest bundle.manifest.sig $(cd "$B" && find . -type f ! -name 'bundle.manifest*' -printf '%P ')
  head -c 9000 "$BATS_TEST_TMPDIR/b.tar" >"$BATS_TEST_TMPDIR/cut.tar"
  exit_is 30 "$bootstrap" install --root "$R" --bundle "$BATS_TEST_TMPDIR/cut.tar" --key "$K/bundle.pub"
  says "bundle.digest"
  untouched
}

@test "a file more, a file less, a link, or files of another bundle: 30" {
  board rock-5b && bundle
  cp -r "$B" "$BATS_TEST_TMPDIR/good"
  echo x >"$B/bin/extra" && exit_is 30 install_it && says "bin/extra"
  rm "$B/bin/extra" "$B/images/host.tar" && exit_is 30 install_it && says "images/host.tar"
  ln -s /etc/passwd "$B/images/host.tar" && exit_is 30 install_it && says "images/host.tar"
  bundle 26.11.2 && cp "$B/images/host.tar" "$BATS_TEST_TMPDIR/good/images/host.tar"
  B=$BATS_TEST_TMPDIR/good exit_is 30 install_it && says "images/host.tar"
  untouched
}

@test "a manifest with a path that leaves the folder is refused although it is signed" {
  board rock-5b && bundle
  sed -i 's#images/host.tar#../../evil#' "$B/bundle.manifest" && sign
  exit_is 30 install_it
  says "the manifest lists"
  untouched
}

@test "a foreign architecture is refused by the manifest and by the binary itself" {
  board rock-5b && bundle 26.11.1 arch=amd64
  exit_is 30 install_it
  says "it is for 'amd64' and this box is arm64"
  untouched
  bundle && elf 3e >"$B/bin/k3s" && seal
  exit_is 30 install_it
  says "ELF machine 0x3e"
  [ ! -e "$R/usr/local/bin/k3s" ]
}

@test "a bundle of another site, an expired one, one signed by somebody else, and no key" {
  board rock-5b && bundle
  exit_is 30 install_it --site other-site
  says "bundle.site"
  head+=("expires=$(($(date +%s) - 10))") && seal && exit_is 30 install_it && says "bundle.expires"
  bundle && openssl ecparam -name prime256v1 -genkey -noout -out "$BATS_TEST_TMPDIR/other.pem"
  openssl dgst -sha256 -sign "$BATS_TEST_TMPDIR/other.pem" "$B/bundle.manifest" | base64 -w0 >"$B/bundle.manifest.sig"
  exit_is 30 install_it && says "bundle.signature"
  sign && exit_is 30 "$bootstrap" install --root "$R" --bundle "$B" && says "no key to check the signature with"
  untouched
}

@test "a bundle that was built after now: the clock is wrong, and nothing is done" {
  board rock-5b && bundle 26.11.1 "created=$(($(date +%s) + 90 * 86400))" "expires=$(($(date +%s) + 180 * 86400))"
  exit_is 20 install_it
  says "time.clock"
  untouched
}

@test "an older version is refused, a newer one replaces it, rollback goes one step back and no further" {
  board rock-5b && bundle 26.11.9
  install_it
  bundle 26.11.10 && exit_is 0 install_it
  grep -q 26.11.10 "$R/var/lib/rancher/k3s/agent/images/host.tar"
  bundle 26.11.9 && exit_is 30 install_it && says "26.11.9 is older than 26.11.10"
  exit_is 0 "$bootstrap" rollback --root "$R"
  grep -q 'host 26.11.9' "$R/var/lib/rancher/k3s/agent/images/host.tar"
  exit_is 30 "$bootstrap" rollback --root "$R" && says "there is no bundle before"
  bundle 26.11.11 && exit_is 0 install_it && [ "$(ls "$R/var/lib/yizhan/bundles" | tr '\n' ' ')" = "26.11.11 26.11.9 " ]
}

@test "a certificate that is expired, of another root, or not of its key: 40" {
  board rock-5b && bundle
  cp "$K/root.key" "$B/pki/site.key" && seal && exit_is 40 install_it && says "cert.key"
  cp "$K/site.key" "$B/pki/site.key"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=other -keyout "$BATS_TEST_TMPDIR/o.key" -out "$B/pki/root.crt" 2>/dev/null
  seal && exit_is 40 install_it && says "cert.site"
  cp "$K/root.crt" "$B/pki/root.crt"
  openssl x509 -req -in "$K/site.csr" -CA "$K/root.crt" -CAkey "$K/root.key" -CAcreateserial -days 0 -out "$B/pki/site.crt" 2>/dev/null
  sleep 1
  seal && exit_is 40 install_it && says "cert.site"
  rm "$B/pki/root.crt" && seal && exit_is 40 install_it && says "cert.root"
  [ ! -e "$R/usr/local/bin/k3s" ]
}

@test "without a certificate in the bundle the box makes its key, which is its own, and a request" {
  board rock-5b && bundle && rm "$B/pki/site.crt" "$B/pki/site.key" && seal
  exit_is 0 install_it
  [ "$(stat -c %a "$R/etc/yizhan/pki/site.key")" = 600 ]
  openssl req -in "$R/etc/yizhan/pki/site.csr" -noout -verify -subject 2>&1 | grep -q 'CN = test-site'
  exit_is 60 "$bootstrap" register --root "$R" && says "register.certificate"
  cp "$R/etc/yizhan/pki/site.key" "$BATS_TEST_TMPDIR/key" && install_it && cmp "$R/etc/yizhan/pki/site.key" "$BATS_TEST_TMPDIR/key"
}

@test "a disk that is full half way says so and leaves no half file; with room the next run ends it" {
  [ "$(id -u)" = 0 ] || skip "mounting a small disk needs root"
  unshare -m true 2>/dev/null || skip "mount namespaces are not permitted here"
  board rock-5b && bundle && head -c 3000000 /dev/urandom >"$B/images/host.tar" && seal
  export R B K bootstrap BATS_TEST_TMPDIR
  run unshare -m bash -c '
    mkdir -p "$R/var/lib/yizhan" && mount -t tmpfs -o size=2m disk "$R/var/lib/yizhan"
    "$bootstrap" install --root "$R" --bundle "$B" --key "$K/bundle.pub" >"$BATS_TEST_TMPDIR/out" 2>&1; echo "full: $?"
    find "$R/var/lib/yizhan" -type f
    mount -o remount,size=20m "$R/var/lib/yizhan"
    "$bootstrap" install --root "$R" --bundle "$B" --key "$K/bundle.pub" >>"$BATS_TEST_TMPDIR/out" 2>&1; echo "room: $?"
    cmp "$R/var/lib/rancher/k3s/agent/images/host.tar" "$B/images/host.tar" && echo same'
  [ "$output" = "$(printf 'full: 74\nroom: 0\nsame')" ] || { echo "$output"; cat "$BATS_TEST_TMPDIR/out"; false; }
  grep -q 'No space left on device' "$BATS_TEST_TMPDIR/out"
}

@test "without root nothing is changed and the exit says so" {
  [ "$(id -u)" = 0 ] || skip "becoming another user needs root"
  board rock-5b && bundle && chmod -R a+rX "$BATS_TEST_TMPDIR" && mkdir -m 755 "$BATS_TEST_TMPDIR/bin" && cp -r "$BATS_TEST_DIRNAME/.." "$BATS_TEST_TMPDIR/bin/edge"
  reachable=$(mktemp -d) && cp -r "$BATS_TEST_TMPDIR/bin/edge" "$B" "$K/bundle.pub" "$reachable" && chmod -R a+rX "$reachable"
  exit_is 77 setpriv --reuid 65534 --regid 65534 --clear-groups env YIZHAN_MIN_FREE_MIB=1 "$reachable/edge/bootstrap.sh" install --bundle "$reachable/bundle" --key "$reachable/bundle.pub"
  says "os.root"
  rm -r "$reachable"
}

@test "two at once: the second is refused" {
  board rock-5b && bundle
  mkdir -p "$R/run/lock"
  exec 8>"$R/run/lock/yizhan-bootstrap.lock" && flock 8
  exit_is 75 install_it 8>&-
  says "another bootstrap is under way"
  exec 8>&-
  exit_is 0 install_it
}

@test "--dry-run changes nothing and says what would" {
  board rock-5b && bundle
  tree "$R" >"$BATS_TEST_TMPDIR/before"
  exit_is 0 install_it --dry-run
  says "would be written"
  tree "$R" | diff "$BATS_TEST_TMPDIR/before" -
}

@test "docker: images are loaded once, the stack's profile is edge" {
  board x86 && bundle
  export YIZHAN_BOOTSTRAP_COMMANDS=yes
  exit_is 0 install_it --runtime docker
  grep -q 'profile edge up' "$R/etc/systemd/system/yizhan.service"
  [ "$(grep -c '^docker load' "$CALLS")" = 2 ]
  grep -qx 'systemctl restart yizhan.service' "$CALLS"
  : >"$CALLS"
  exit_is 0 install_it --runtime docker --json
  says '"changes":0'
  ! grep -E 'docker|restart' "$CALLS"
}

@test "docker: the stack has the site's name and centre, secrets that stay, and keeps a certificate that was renewed" {
  board x86 && bundle && cp "$BATS_TEST_DIRNAME/../../../infra/docker/.env.example" "$B/compose/env.example"
  printf 'siteId: test-site\nnetwork:\n  centreUrl: https://centre.example:8443\n' >"$B/site.yaml" && seal
  export YIZHAN_BOOTSTRAP_COMMANDS=yes
  exit_is 0 install_it --runtime docker
  env=$R/opt/yizhan/.env pki=$R/opt/yizhan/pki
  grep -qx SITE_ID=test-site "$env" && grep -qx CENTRE_URL=https://centre.example:8443 "$env" && grep -qx SITE_PKI=/opt/yizhan/pki "$env"
  [ "$(stat -c %a "$env")" = 600 ] && [ "$(stat -c %a "$pki/key.pem")" = 600 ] && [ "$(stat -c %a "$R/opt/yizhan/docker-compose.yml")" = 644 ]
  ! grep -E '^[A-Z_]+=$' "$env"
  grep POSTGRES_PASSWORD "$env" >"$BATS_TEST_TMPDIR/secret"
  sleep 1 # A certificate begins in whole seconds.
  openssl x509 -req -in "$K/site.csr" -CA "$K/root.crt" -CAkey "$K/root.key" -CAcreateserial -days 90 -out "$pki/certificate.pem" 2>/dev/null
  cp "$pki/certificate.pem" "$BATS_TEST_TMPDIR/renewed"
  cp "$B/compose/env.example" "$B/site.yaml" "$BATS_TEST_TMPDIR"
  bundle 26.11.2 && cp "$BATS_TEST_TMPDIR/env.example" "$B/compose/" && cp "$BATS_TEST_TMPDIR/site.yaml" "$B/" && seal
  exit_is 0 install_it --runtime docker
  cmp "$pki/certificate.pem" "$BATS_TEST_TMPDIR/renewed" && grep POSTGRES_PASSWORD "$env" | diff - "$BATS_TEST_TMPDIR/secret"
}

@test "k3s: the Secrets that the manifests name are brought, readable to root alone" {
  board rock-5b && bundle
  exit_is 0 install_it
  brought=$R/var/lib/rancher/k3s/server/manifests/yizhan
  [ "$(stat -c %a "$brought/zz-station-link.yaml")" = 600 ] && [ "$(stat -c %a "$R/etc/yizhan/secrets.env")" = 600 ]
  sed -n 's/^  site.crt: //p' "$brought/zz-station-link.yaml" | base64 -d | cmp - "$K/site.crt"
  sed -n "s/^  orthanc.json: '\(.*\)'$/\1/p" "$brought/zz-orthanc.yaml" | jq -e '.AuthenticationEnabled and (.RegisteredUsers.yizhan | length) == 32'
}

@test "containerd: the bundle brings it, nerdctl loads into it" {
  board rock-5b && bundle
  export YIZHAN_BOOTSTRAP_COMMANDS=yes
  exit_is 0 install_it --runtime containerd
  [ "$(grep -c '^nerdctl load' "$CALLS")" = 2 ]
  grep -qx 'systemctl restart containerd.service' "$CALLS"
  rm "$B/bin/runc" && seal && exit_is 50 install_it --runtime containerd && says "runtime.runc"
}

@test "register puts the manifests of both control planes where k3s applies them; verify finds an altered binary" {
  board rock-5b && bundle
  exit_is 60 "$bootstrap" register --root "$R"
  install_it
  exit_is 0 "$bootstrap" register --root "$R"
  [ -e "$R/var/lib/rancher/k3s/server/manifests/yizhan-fleet/agent.yaml" ] && [ -e "$R/var/lib/rancher/k3s/server/manifests/yizhan-argocd/manager.yaml" ]
  exit_is 0 "$bootstrap" verify --root "$R"
  echo x >>"$R/usr/local/bin/k3s"
  exit_is 50 "$bootstrap" verify --root "$R" && says "missing or altered"
}

@test "nothing is written outside --root" {
  strace -f -o /dev/null true 2>/dev/null || skip "strace is not installed or may not trace here"
  board rock-5b && bundle
  strace -f -qq -e trace=openat,rename,mkdir,unlink,symlink,link,chmod -o "$BATS_TEST_TMPDIR/trace" "$bootstrap" install --root "$R" --bundle "$B" --key "$K/bundle.pub" >/dev/null
  ! grep -E 'O_(WRONLY|RDWR)|^[0-9]+ (rename|mkdir|unlink|symlink|link|chmod)' "$BATS_TEST_TMPDIR/trace" | grep -v ENOENT | grep -oE '"/[^"]*"' | grep -vE "^\"($BATS_TEST_TMPDIR|/tmp[/\"]|/dev/(null|tty)|/proc/)"
}
