#!/usr/bin/env bash
# The static checks of this folder, by Prometheus' and Alertmanager's own tools. Ends with "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    echo "ok    $name"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    cat "$work/log"
  fi
}

alerts() { sed -n 's/^ *- alert: //p' rules/*.yaml; }

# Each alert has a page for whoever is woken by it, and fires in a test: one that was never seen to fire may not be able to.
explained() {
  local page
  while read -r page; do
    [ -f "../../$page" ] || { echo "$page is missing"; return 1; }
  done < <(sed -n 's/^ *runbook: //p' rules/*.yaml | sort -u)
  [ "$(alerts | wc -l)" = "$(grep -c '^ *runbook:' rules/yizhan.rules.yaml)" ] || { echo "an alert has no runbook"; return 1; }
}

fires() {
  local alert
  for alert in $(alerts); do
    grep -A1 "alertname: $alert\$" tests/*.yaml | grep -q exp_alerts || { echo "$alert never fires in tests/"; return 1; }
    grep -q "{eval_time: .*alertname: $alert}" tests/*.yaml || [ "$alert" = Watchdog ] || { echo "$alert is never seen not to fire in tests/"; return 1; }
  done
}

# Receivers that alerts with these labels reach.
goes() { [ "$(amtool config routes test --config.file alertmanager/alertmanager.yml "${@:2}")" = "$1" ]; }

# The queries of the dashboards, as recording rules, so that promtool reads them.
queries() {
  python3 - "$work/queries.yaml" <<'PY'
import json, pathlib, sys
rules = [panel["expr"].replace("$site", "hill") for board in json.loads(pathlib.Path("dashboards/dashboards.json").read_text()) for row in board["rows"] for panel in row["panels"]]
pathlib.Path(sys.argv[1]).write_text(json.dumps({"groups": [{"name": "dashboards", "rules": [{"record": f"query:{i}", "expr": e} for i, e in enumerate(rules)]}]}))
PY
  promtool check rules "$work/queries.yaml"
}

yaml() { python3 -c 'import sys, yaml; [yaml.safe_load(open(path)) for path in sys.argv[1:]]' loki/*.yml tempo/*.yml otel-collector/*.yml fluent-bit/*.yaml; }

step "promtool check rules" promtool check rules rules/*.yaml
for test in tests/*.test.yaml; do
  step "promtool test rules $(basename "$test")" promtool test rules "$test"
done
for config in prometheus/*.yml; do
  step "promtool check config $(basename "$config")" promtool check config --syntax-only "$config"
done
step "amtool check-config" amtool check-config alertmanager/alertmanager.yml
step "P1 goes to the pager and the team" goes pager,team severity=P1 alertname=InferenceUnavailable site=hill
step "P2 goes to the team" goes team severity=P2 alertname=WordErrorRateHigh site=hill
step "P3 becomes a ticket" goes ticket severity=P3 alertname=InventoryCollectionFailing site=hill
step "the watchdog goes to the heartbeat" goes watchdog severity=none alertname=Watchdog
step "each alert has a page" explained
step "each alert is seen to fire and not to fire" fires
step "dashboards are what their source says" python3 dashboards/generate.py --check
step "the queries of the dashboards are PromQL" queries
step "the other configurations are YAML" yaml
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
