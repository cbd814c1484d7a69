# shellcheck shell=bash
# What the box is. Nothing here changes anything.

: "${root:=}" "${require_npu:=}" "${npu:=none}"

check_hardware() {
  check_soc
  check_npu
  check_cpu
  check_memory
  check_disk
  check_clock 0
  check_kernel
}

# The file is a list of NUL-terminated names. Boards with an RK3588S say only rockchip,rk3588s, so an exact match would refuse them, and
# an open one would take "acme,rockchip,rk3588-clone".
check_soc() {
  local file names board
  file=$(r /proc/device-tree/compatible)
  soc=none
  if [ ! -r "$file" ]; then
    check_result Warning soc.rk3588 "no device tree: $(uname -m), not an RK3588 board" "none needed for x64; inference runs on the CPU"
    return
  fi
  names=$(tr '\0' '\n' <"$file")
  board=$(head -n 1 <<<"$names")
  if soc=$(grep -xE 'rockchip,rk3588[a-z]*' <<<"$names"); then
    soc=${soc#rockchip,}
    check_result Ok soc.rk3588 "$board ($soc)"
  else
    soc=none
    check_result Warning soc.rk3588 "$board is not an RK3588 board: $(tr '\n' ' ' <<<"$names")" "inference runs on the CPU; for the NPU take a board with an RK3588 or RK3588S"
  fi
}

# The vendor's kernel has the driver rknpu, which the runtime library speaks to through the DRM node of that driver; its number changes
# with the display drivers, so it is found by its driver. The mainline kernel has rocket, which that library does not speak.
check_npu() {
  local uevent node='' version bad=Warning fix
  [ -z "$require_npu" ] || bad=Failed
  fix="boot the board vendor's kernel (5.10 or 6.1), whose driver is rknpu; without it inference runs on the CPU"
  npu=none
  for uevent in "$root"/sys/class/drm/renderD*/device/uevent; do
    if [ -r "$uevent" ] && grep -qx 'DRIVER=RKNPU' "$uevent"; then
      node=${uevent%/device/uevent} node=/dev/dri/${node##*/}
    fi
  done
  if [ -n "$node" ]; then
    npu=rknpu
    check_result Ok npu.device "$node"
    version=$(cat "$(r /sys/kernel/debug/rknpu/version)" 2>/dev/null || true)
    if [[ $version =~ v([0-9]+)\.([0-9]+)\.([0-9]+) ]]; then
      if ((BASH_REMATCH[1] * 10000 + BASH_REMATCH[2] * 100 + BASH_REMATCH[3] >= 908)); then
        check_result Ok npu.driver "rknpu ${BASH_REMATCH[0]}"
      else
        check_result $bad npu.driver "rknpu ${BASH_REMATCH[0]}; the models want v0.9.8 or newer" "update the board's kernel package"
      fi
    else
      check_result Warning npu.driver "rknpu of unknown version" "run as root with debugfs mounted: mount -t debugfs none /sys/kernel/debug"
    fi
  elif compgen -G "$root/dev/accel/accel*" >/dev/null || { compgen -G "$root/sys/bus/platform/drivers/rocket/*.npu" >/dev/null; }; then
    npu=rocket
    check_result $bad npu.device "the NPU is there with the mainline driver rocket, which the runtime library cannot use" "$fix"
  elif [ "${soc:-none}" != none ]; then
    check_result $bad npu.device "an $soc without an NPU driver" "$fix"
  else
    check_result $bad npu.device "no NPU" "none needed unless the site's models ask for one"
  fi
}

check_cpu() {
  local possible cores
  possible=$(cat "$(r /sys/devices/system/cpu/possible)" 2>/dev/null || echo 0-$(($(nproc) - 1)))
  cores=$((${possible##*-} + 1))
  if [ "$cores" -ge 4 ]; then
    check_result Ok cpu.cores "$cores"
  else
    check_result Warning cpu.cores "$cores; a site wants 4 or more" "take a box with more cores; without inference 2 are enough"
  fi
}

check_memory() {
  local kib
  kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' "$(r /proc/meminfo)" 2>/dev/null)
  if [ -z "$kib" ]; then
    check_result Skipped mem.total "/proc/meminfo cannot be read" "run it on the box itself"
  elif [ "$kib" -ge 3500000 ]; then
    check_result Ok mem.total "$((kib / 1024)) MiB"
  else
    check_result Failed mem.total "$((kib / 1024)) MiB; a site needs 4 GiB" "take a box with 4 GiB or more; 8 with inference"
  fi
}

check_disk() {
  local free folder
  folder=$(r /var/lib)
  [ -d "$folder" ] || folder=$root/
  free=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
  if [ "$free" -ge $((${YIZHAN_MIN_FREE_MIB:-8192} * 1024)) ]; then
    check_result Ok disk.free "$((free / 1024)) MiB free in $folder"
  else
    check_result Failed disk.free "$((free / 1024)) MiB free in $folder; ${YIZHAN_MIN_FREE_MIB:-8192} MiB are needed" "free or add disk space; the spool of a day of studies goes there too"
  fi
  if compgen -G "$root/sys/block/nvme*n*" >/dev/null; then
    check_result Ok disk.nvme "$(basename "$(compgen -G "$root/sys/block/nvme*n*" | head -n 1)")"
  else
    check_result Warning disk.nvme "no NVMe disk" "an SD card wears out under the spool; put an NVMe disk into the board"
  fi
}

# check_clock FLOOR: boards without a battery wake up in 1970, where no certificate and no licence is valid. What was built after FLOOR
# (Unix seconds) cannot be read before it; a day of grace for zones that somebody set by hand.
check_clock() {
  local now floor=$1
  now=$(date +%s)
  [ "$floor" != 0 ] || floor=1767225600 # 2026-01-01, before the first release
  if [ "$now" -ge $((floor - 86400)) ]; then
    [ "$1" != 0 ] || check_result Ok time.clock "$(date -u -d "@$now" +%FT%TZ)"
  else
    check_result Failed time.clock "the clock says $(date -u -d "@$now" +%FT%TZ), which is before $(date -u -d "@$floor" +%FT%TZ)" "set it: timedatectl set-time 'YYYY-MM-DD hh:mm:ss', and put a battery on the board's RTC connector"
  fi
}

check_kernel() {
  if [ -e "$(r /sys/fs/cgroup/cgroup.controllers)" ]; then
    check_result Ok kernel.cgroup2 "unified"
  else
    check_result Warning kernel.cgroup2 "control groups are not unified" "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line"
  fi
  # k3s takes the address of the default route and does not start without one, also when nothing is at its end.
  if [ ! -r "$(r /proc/net/route)" ]; then
    check_result Skipped net.default-route "/proc/net/route cannot be read" "run it on the box itself"
  elif awk 'NR > 1 && $2 == "00000000" { found = 1 } END { exit !found }' "$(r /proc/net/route)"; then
    check_result Ok net.default-route "there is one"
  else
    check_result Warning net.default-route "none; k3s does not start without one" "ip link add dummy0 type dummy; ip addr add 203.0.113.254/31 dev dummy0; ip link set dummy0 up; ip route add default via 203.0.113.255 dev dummy0 metric 1000"
  fi
}
