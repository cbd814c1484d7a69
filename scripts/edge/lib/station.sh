# shellcheck shell=bash
# How the station of this box is reached from outside its container.

# station_command: sets ask (a command that takes an argument of the station's binary) and unit; false when nothing is installed.
# shellcheck disable=SC2034 # Read by who calls it.
station_command() {
  case $(state runtime) in
    k3s) unit=k3s.service ask=(k3s kubectl --namespace edge exec deployment/station -- /app/yizhan) ;;
    docker) unit=yizhan.service ask=(docker compose --project-directory /opt/yizhan exec -T edge /app/yizhan) ;;
    containerd) unit=yizhan.service ask=(nerdctl compose --project-directory /opt/yizhan exec -T edge /app/yizhan) ;;
    *) return 1 ;;
  esac
}

# ask_station ARGUMENT: its answer and exit code; 124 when it takes longer than half a minute.
ask_station() { timeout 30 "${ask[@]}" "$1"; }
