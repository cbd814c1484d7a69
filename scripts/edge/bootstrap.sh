#!/usr/bin/env bash
# Makes a site's box out of a Debian machine and a signed bundle, without a network. See `bootstrap.sh --help`.
#
# Every path goes through r(), so that --root is complete; every command that changes something goes through run(), so that --dry-run is
# complete; every change is "want, have, change", so that a second run changes nothing and an interrupted one is finished by the next.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/report.sh
. "$here/lib/report.sh"
# shellcheck source=lib/hardware.sh
. "$here/lib/hardware.sh"
# shellcheck source=lib/bundle.sh
. "$here/lib/bundle.sh"
# shellcheck source=lib/install.sh
. "$here/lib/install.sh"

usage() {
  cat <<'END'
Usage: bootstrap.sh MODE [options]

Modes
  check      looks at the hardware and, with --bundle, at the bundle; changes nothing
  stage      verifies the bundle and copies it to the box
  install    stage, then runtime, images, licence, certificates, configuration, services
  register   announces the site to the control planes that the bundle names (Rancher Fleet, Argo CD) and to the centre's registry
  verify     looks whether what was installed is there, unaltered and running
  repair     installs the bundle again that is installed now, also after its expiry
  rollback   installs the bundle again that was there before the last one

Options
  --bundle FILE|DIR   the bundle, as `yizhan bundle build` makes it
  --key FILE          public key (PEM) that the bundle must be signed with; kept as /etc/yizhan/bundle.pub at the first install
  --site ID           the site that this box is for; a bundle of another one is refused
  --runtime NAME      k3s (default), docker or containerd
  --role NAME         server (default) or agent: a further box of a site whose first is the server; needs --server and --token-file
  --server URL        address of the site's k3s server, such as https://192.168.10.2:6443
  --token-file FILE   token of that server
  --require-npu       no NPU that works is a failure, not a warning
  --root DIR          prefix of every path that is read or written; default /
  --json              the last line is one JSON object
  --dry-run           says what would change and changes nothing

Exit codes
  0 ok · 10 warnings (check only) · 20 hardware or clock · 30 bundle · 40 licence or certificate · 50 runtime · 60 registration
  64 wrong usage · 74 a file could not be written · 75 another run is under way · 77 not root

Examples
  bootstrap.sh check
  bootstrap.sh install --bundle /media/usb/hubei-lichuan-26.11.3-arm64.tar --key /media/usb/bundle.pub --site hubei-lichuan
  bootstrap.sh verify --json
END
}

wrong() {
  echo "bootstrap.sh: $1" >&2
  exit 64
}

mode='' root=/ bundle='' key='' site='' runtime=k3s role=server server='' token_file='' require_npu='' json='' dry_run=''
while [ $# -gt 0 ]; do
  case $1 in
    check | stage | install | register | verify | repair | rollback)
      [ -z "$mode" ] || wrong "two modes: '$mode' and '$1'."
      mode=$1
      ;;
    --bundle | --key | --site | --runtime | --role | --server | --token-file | --root)
      [ $# -gt 1 ] || wrong "$1 needs a value."
      name=${1#--} name=${name//-/_}
      printf -v "$name" %s "$2"
      shift
      ;;
    --require-npu) require_npu=yes ;;
    --json) json=yes ;;
    --dry-run) dry_run=yes ;;
    --offline) ;; # It always is.
    -h | --help) usage && exit 0 ;;
    *) wrong "'$1' is not understood; see --help." ;;
  esac
  shift
done
[ -n "$mode" ] || wrong "which mode? One of check, stage, install, register, verify, repair, rollback; see --help."
[[ $runtime =~ ^(k3s|docker|containerd)$ ]] || wrong "--runtime is '$runtime'; accepted: k3s, docker, containerd."
[[ $role =~ ^(server|agent)$ ]] || wrong "--role is '$role'; accepted: server, agent."
[ -z "$site" ] || is_site_id "$site" || wrong "--site is $(printf %q "$site"); accepted: 1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'."
[ -d "$root" ] || wrong "--root is '$root', and there is no such folder."
root=$(cd "$root" && pwd) && root=${root%/}
if [ "$role" = agent ]; then
  [ "$runtime" = k3s ] || wrong "--role agent is of k3s, and --runtime is '$runtime'."
  [[ $server =~ ^https://[A-Za-z0-9.:-]+$ ]] || wrong "--server is '$server'; accepted is an address such as https://192.168.10.2:6443."
  [ -f "$token_file" ] || wrong "--token-file is '$token_file', and there is no such file."
fi
[[ $mode != stage && $mode != install ]] || [ -n "$bundle" ] || wrong "$mode needs --bundle."
[ -z "$bundle" ] || [ -e "$bundle" ] || wrong "--bundle is '$bundle', and there is no such file or folder."

# A machine's own root needs root; a folder that somebody owns does not.
may_change() {
  [ -z "$dry_run" ] || return 0
  if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
    check_result Fatal os.root "not root" "run it with sudo"
    finish 77
  fi
}

# One at a time: the lock goes with the process, however it ends.
take_lock() {
  [ -z "$dry_run" ] || return 0
  mkdir -p "$(r /run/lock)" 2>/dev/null || { echo "bootstrap.sh: $(r /run/lock) cannot be made." >&2; finish 74; }
  exec 9>>"$(r /run/lock/yizhan-bootstrap.lock)" || finish 74
  if ! flock -n 9; then
    check_result Fatal run.alone "another bootstrap is under way on this box" "wait for it to end, then run this again"
    finish 75
  fi
}

[ -z "$json" ] || out=2
trap 'interrupted' INT TERM
trap 'on_exit $?' EXIT

case $mode in
  check)
    check_hardware
    [ -z "$bundle" ] || check_bundle "$bundle"
    finish "$(exit_of_checks)"
    ;;
  verify)
    verify_installed
    finish "$(exit_of_checks)"
    ;;
esac

may_change
take_lock
case $mode in
  stage | install)
    check_hardware
    stop_at_failure
    check_bundle "$bundle"
    stop_at_failure
    stage_bundle
    # An `if` without `else`: inside `||` a failing step would not end the run.
    if [ "$mode" = install ]; then
      install_bundle "$staged"
    fi
    ;;
  register) register_site ;;
  repair) repair_bundle ;;
  rollback) rollback_bundle ;;
esac
finish 0
