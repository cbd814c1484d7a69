#!/usr/bin/env python3
"""Makes the Grafana dashboards of this folder out of dashboards.json. With --check it only says whether they are what it would make."""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(number, spec, x, y, width):
    options = {"stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}}.get(spec["type"], {})
    steps = [{"color": "green", "value": None}] + ([{"color": "red", "value": spec["red"]}] if "red" in spec else [])
    return {
        "id": number, "type": spec["type"], "title": spec["title"], "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": width, "x": x, "y": y},
        "targets": [{"refId": "A", "expr": spec["expr"], "legendFormat": spec.get("legend", "__auto"), "datasource": SOURCE,
                     **({"instant": True, "format": "table"} if spec["type"] == "table" else {})}],
        "fieldConfig": {"defaults": {"unit": spec["unit"], "thresholds": {"mode": "absolute", "steps": steps}}, "overrides": []},
        "options": options,
    }


def dashboard(spec):
    panels, number, y = [], 0, 0
    for row in spec["rows"]:
        number += 1
        panels.append({"id": number, "type": "row", "title": row["title"], "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}})
        y += 1
        per_line = min(4 if row["panels"][0]["type"] == "stat" else 2, len(row["panels"]))
        for i, one in enumerate(row["panels"]):
            number += 1
            width = WIDTH // per_line
            panels.append(panel(number, one, (i % per_line) * width, y + i // per_line * HEIGHT, width))
        y += (len(row["panels"]) + per_line - 1) // per_line * HEIGHT
    variables = [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
    if spec["site"]:
        variables.append({"name": "site", "type": "query", "datasource": SOURCE, "refresh": 2, "query": "label_values(yizhan_site_online, site)"})
    return {"uid": spec["uid"], "title": spec["title"], "schemaVersion": 39, "version": 1, "editable": False, "tags": ["yizhan"],
            "time": {"from": "now-6h", "to": "now"}, "refresh": "30s", "timezone": "browser",
            "templating": {"list": variables}, "annotations": {"list": []}, "panels": panels}


def main():
    stale = []
    for spec in json.loads((HERE / "dashboards.json").read_text(encoding="utf-8")):
        path, text = HERE / f"{spec['uid']}.json", json.dumps(dashboard(spec), indent=1, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not what dashboards.json says. Run infra/observability/dashboards/generate.py.")


if __name__ == "__main__":
    main()
