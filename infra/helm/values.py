#!/usr/bin/env python3
"""Prints the chart's values of a site file: `values.py sites/hubei-lichuan.yaml > infra/helm/values-site.yaml`."""
import sys
from pathlib import Path

import yaml


def values(site):
    return {'siteId': site['siteId'], 'hardwareProfile': site['hardware']['profile'], 'network': {'centreUrl': site['network']['centreUrl']}}


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(yaml.safe_dump(values(yaml.safe_load(Path(sys.argv[1]).read_text())), sort_keys=False), end='')
