#!/usr/bin/env bash
# Whether this box may be updated now: 0 go, 21 not now. 21 is what Mender's client reads as "ask again later".
#
# The station knows; this script only knows how to reach it. A station that runs and does not answer is no leave to go: what was not heard
# may be a study. One that is stopped serves nobody, and an update may be what mends it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # Read by the libraries.
root=${YIZHAN_ROOT:-} ask=() unit=''
# shellcheck source=lib/report.sh
. "$here/lib/report.sh"
# shellcheck source=lib/install.sh
. "$here/lib/install.sh"
# shellcheck source=lib/station.sh
. "$here/lib/station.sh"

if ! station_command; then
  echo "Nothing is installed here: there is nothing to wait for."
  exit 0
fi
if ! systemctl is-active --quiet "$unit"; then
  echo "$unit does not run: there is nothing to wait for."
  exit 0
fi
code=0
ask_station --idle || code=$?
case $code in
  0 | 21) exit "$code" ;;
  *)
    echo "The station did not answer (${ask[0]} ended with $code), and what it has under way is not known. A person may stop it: systemctl stop $unit" >&2
    exit 21
    ;;
esac
