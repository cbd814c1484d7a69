# shellcheck shell=bash
# What every step needs: paths below --root, results of checks and steps, and how the run ends.

: "${json:=}" "${dry_run:=}" "${root:=}" "${mode:=}"

# With --json the report for people goes to standard error, so that the last line of standard output is the object.
out=1
checks=() steps=() worst=0 warned='' changes=0 ended=''

r() { printf '%s%s' "$root" "$1"; }

is_site_id() { [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ ]]; }

quoted() {
  local text=$1
  text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/ } text=${text//$'\t'/ }
  printf '"%s"' "${text//[$'\x01'-$'\x1f']/}"
}

# check_result Ok|Warning|Failed|Fatal|Skipped ID MESSAGE [FIX [EXIT]]: every result that is not Ok says how to mend it.
check_result() {
  local state=$1 id=$2 message=$3 fix=${4:-} code=${5:-20}
  checks+=("{\"id\":\"$id\",\"state\":\"$state\",\"message\":$(quoted "$message")${fix:+,\"fix\":$(quoted "$fix")}}")
  printf '%-8s %-20s %s\n' "$state" "$id" "$message" >&"$out"
  [ -z "$fix" ] || printf '%-8s %-20s fix: %s\n' '' '' "$fix" >&"$out"
  case $state in
    Warning) warned=yes ;;
    Failed | Fatal) [ "$worst" != 0 ] || worst=$code ;;
  esac
}

exit_of_checks() { if [ "$worst" != 0 ]; then echo "$worst"; elif [ -n "$warned" ]; then echo 10; else echo 0; fi; }

stop_at_failure() { [ "$worst" = 0 ] || finish "$worst"; }

# step ok|changed|skipped|failed NAME [WHY]
step() {
  steps+=("{\"step\":$(quoted "$2"),\"result\":\"$1\"}")
  printf '%-8s %s%s\n' "$1" "$2" "${3:+ ($3)}" >&"$out"
  if [ "$1" = changed ]; then
    changes=$((changes + 1))
    # Tests cut the run after each change, as a power cut would.
    [ "${YIZHAN_BOOTSTRAP_STOP_AFTER:-}" != "$changes" ] || kill -KILL $$
  fi
}

# run COMMAND...: everything outside this script that changes something.
run() {
  if [ -n "$dry_run" ]; then
    echo "would run: $*" >&"$out"
    return 0
  fi
  "$@" >&2
}

# finish CODE: one line of JSON when asked for, then out.
finish() {
  local IFS=,
  ended=yes
  [ -z "$json" ] || printf '{"mode":"%s","exit":%d,"changes":%d,"checks":[%s],"steps":[%s]}\n' "$mode" "$1" "$changes" "${checks[*]:-}" "${steps[*]:-}"
  exit "$1"
}

interrupted() {
  echo "bootstrap.sh: interrupted; run it again and it goes on." >&2
  finish 75
}

# set -e ended the run: a command said no, most often because the disk is full.
on_exit() {
  rm -rf "${scratch:-}" 2>/dev/null || true
  [ -n "$ended" ] || [ "$1" = 0 ] || {
    echo "bootstrap.sh: a step failed and nothing after it was done; the line above says why. Mend it (df -h shows whether the disk is full) and run it again." >&2
    ended=yes
    [ -z "$json" ] || finish 74
    exit 74
  }
}
