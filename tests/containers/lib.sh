# shellcheck shell=bash
# What the suites with real machines share. Sourced; `work` is their folder and `root` the top of the tree.

: "${work:?}" "${root:?}"
passed=0 failed=0

# expect NAME COMMAND...: its output is shown when it fails.
expect() {
  local name=$1 from=$SECONDS
  shift
  if "$@" >"$work/$(basename "$0" .sh).log" 2>&1; then
    passed=$((passed + 1))
    echo "ok    $name ($((SECONDS - from)) s)"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    tail -n 20 "$work/$(basename "$0" .sh).log" | sed 's/^/      /'
  fi
}

# wait_until SECONDS COMMAND...
wait_until() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $until ] || { echo "not within the time: $*"; return 1; }
    sleep 1
  done
}

# summary [SKIPPED]: the last line of a suite, and its end.
summary() {
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "${1:-0}"
  [ "$failed" = 0 ]
  exit
}

# make_study NUMBER: three instances of CT, Explicit VR Little Endian, as $work/study-NUMBER-1.dcm and so on.
make_study() {
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
}

# has_study NODE TOKEN NUMBER: whether the archive of the node at that address says that the study has three instances.
has_study() {
  curl -sf -H "Authorization: Bearer $(cat "$2" 2>/dev/null)" "$1/pacs-gw/dicom-web/studies?StudyInstanceUID=1.2.826.0.1.3680043.10.9.$3&includefield=00201208" |
    grep -q '"00201208":{"vr":"IS","Value":\["\?3'
}

# debian_rootfs NAME PACKAGE...: $work/NAME.tar, the base of our images (scripts/images.sh makes it) with further packages of Debian in it.
debian_rootfs() {
  local name=$1 folder=$work/rootfs-$1
  shift
  [ ! -e "$work/$name.tar" ] || return 0
  rm -rf --one-file-system "$folder" && mkdir -p "$folder" && tar -C "$folder" -xf "$root/artifacts/images/rootfs-$(dpkg --print-architecture).tar" || return 1
  cp /etc/resolv.conf "$folder/etc/resolv.conf"
  [ ! -d /etc/apt/apt.conf.d ] || cp -n /etc/apt/apt.conf.d/* "$folder/etc/apt/apt.conf.d/"
  printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d" && chmod +x "$folder/usr/sbin/policy-rc.d"
  chroot "$folder" sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"' sh "$@" </dev/null || return 1
  rm -f "$folder/usr/sbin/policy-rc.d" "$folder"/var/cache/apt/archives/*.deb
  tar -C "$folder" -cf "$work/$name.tar.new" . && mv "$work/$name.tar.new" "$work/$name.tar" && rm -rf --one-file-system "$folder"
}
