#!/usr/bin/env bats
# What the box is: six boards, and some that only look like one.

load helper

hardware() { run "$bootstrap" check --root "$R" "$@"; }

@test "rock-5b with the vendor's kernel: everything is Ok" {
  board rock-5b
  exit_is 0 "$bootstrap" check --root "$R"
  says "Ok       soc.rk3588           radxa,rock-5b (rk3588)"
  says "Ok       npu.device           /dev/dri/renderD129"
}

@test "orange-pi-5 says only rk3588s, and its NPU is another render node" {
  board orange-pi-5
  exit_is 0 "$bootstrap" check --root "$R"
  says "(rk3588s)"
  says "/dev/dri/renderD128"
}

@test "the mainline kernel's NPU is there and of no use" {
  board mainline
  exit_is 10 "$bootstrap" check --root "$R"
  says "Warning  npu.device"
  says "driver rocket"
  exit_is 20 "$bootstrap" check --root "$R" --require-npu
}

@test "an RK3588 without a driver names the kernel that has it" {
  board no-driver
  exit_is 20 "$bootstrap" check --root "$R" --require-npu
  says "Failed   npu.device"
  says "fix: boot the board vendor's kernel"
}

@test "an RK3576 is not an RK3588" {
  board rk3576
  exit_is 10 "$bootstrap" check --root "$R"
  says "Warning  soc.rk3588"
  exit_is 20 "$bootstrap" check --root "$R" --require-npu
}

@test "x86 has no device tree; without an NPU it is a warning, with --require-npu a failure" {
  board x86
  exit_is 10 "$bootstrap" check --root "$R"
  says "no device tree"
  exit_is 20 "$bootstrap" check --root "$R" --require-npu
}

@test "a name that contains rk3588 is not one" {
  board clone
  exit_is 10 "$bootstrap" check --root "$R"
  says "Warning  soc.rk3588"
}

@test "an old NPU driver is named with what would do" {
  board rock-5b
  echo "RKNPU driver: v0.8.2" >"$R/sys/kernel/debug/rknpu/version"
  exit_is 10 "$bootstrap" check --root "$R"
  says "rknpu v0.8.2; the models want v0.9.8 or newer"
}

@test "too little memory fails, no NVMe and no default route warn, each with its fix" {
  board rock-5b
  printf 'MemTotal: 2000000 kB\n' >"$R/proc/meminfo"
  rm -r "$R/sys/block/nvme0n1"
  printf 'Iface Destination Gateway\n' >"$R/proc/net/route"
  exit_is 20 "$bootstrap" check --root "$R"
  says "Failed   mem.total"
  says "Warning  disk.nvme"
  says "Warning  net.default-route"
  [ "$(grep -cE '^(Warning|Failed)' <<<"$output")" = "$(grep -c 'fix: ' <<<"$output")" ]
}

@test "a clock in 1970 fails with what to do" {
  board rock-5b
  printf '#!/bin/sh\ncase "$*" in *-d*) exec /bin/date "$@" ;; +%%s) echo 3600 ;; *) exec /bin/date "$@" ;; esac\n' >"$BATS_TEST_TMPDIR/stubs/date"
  chmod +x "$BATS_TEST_TMPDIR/stubs/date"
  exit_is 20 "$bootstrap" check --root "$R"
  says "the clock says 1970-01-01"
  says "timedatectl set-time"
}

@test "--json ends with one object that has every check with its id, state and fix" {
  board no-driver
  "$bootstrap" check --root "$R" --json 2>/dev/null >"$BATS_TEST_TMPDIR/out" || true
  [ "$(wc -l <"$BATS_TEST_TMPDIR/out")" = 1 ]
  jq -e '.mode == "check" and .exit == 10 and (.checks | length) >= 9 and all(.checks[]; .id and .state and .message and (.state == "Ok" or .fix))' "$BATS_TEST_TMPDIR/out"
  jq -r '.checks[].id' "$BATS_TEST_TMPDIR/out" | sort | diff - <(printf '%s\n' cpu.cores disk.free disk.nvme kernel.cgroup2 mem.total net.default-route npu.device soc.rk3588 time.clock)
}

@test "check changes nothing" {
  board rock-5b
  tree "$R" >"$BATS_TEST_TMPDIR/before"
  exit_is 0 "$bootstrap" check --root "$R"
  tree "$R" | diff "$BATS_TEST_TMPDIR/before" -
}

@test "wrong usage names what is accepted" {
  exit_is 64 "$bootstrap"
  exit_is 64 "$bootstrap" chek
  exit_is 64 "$bootstrap" check --runtime podman
  says "accepted: k3s, docker, containerd"
  exit_is 64 "$bootstrap" install --root "$R"
  says "install needs --bundle"
  exit_is 64 "$bootstrap" install --root "$R" --role agent --bundle "$B"
}

@test "a site's name with shell metacharacters is refused and never run" {
  for name in '$(touch pwned)' 'a;touch pwned' 'a b' '../x' '-x' $'a\nb' 'A' "$(printf 'a%.0s' {1..64})"; do
    (cd "$BATS_TEST_TMPDIR" && exit_is 64 "$bootstrap" install --root "$R" --bundle "$B" --site "$name")
  done
  [ ! -e "$BATS_TEST_TMPDIR/pwned" ]
}
