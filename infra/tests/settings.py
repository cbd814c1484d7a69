#!/usr/bin/env python3
"""Prints the settings that the Deployments of infra/k8s/base give our services, as one environment: for a host that runs them all in one process.

settings.py [NAME=VALUE ...]: those win. The last line is a comment with the ports that they declare."""
import sys
from pathlib import Path

import yaml

BASE = Path(__file__).resolve().parent.parent / 'k8s' / 'base'


def main():
    objects = [o for file in sorted(BASE.glob('*.yaml')) for o in yaml.safe_load_all(file.read_text()) if o]
    site = next(o['data'] for o in objects if o['kind'] == 'ConfigMap' and o['metadata']['name'] == 'site')
    # ai-infer is not in a centre's host.
    pods = [o['spec']['template']['spec'] for o in objects if o['kind'] == 'Deployment' and o['metadata']['name'] != 'ai-infer']
    environment, ports = {}, set()
    for container in (c for pod in pods for c in pod['containers']):
        environment |= {e['name']: e['value'] if 'value' in e else site[e['valueFrom']['configMapKeyRef']['key']] for e in container['env']}
        ports |= {p['containerPort'] for p in container['ports']}
    # One process has fleet's log as its own; that services apart use it over the network is shown by tests/EndToEnd/ApartTests.
    environment = {name: value for name, value in environment.items() if not name.startswith('YIZHAN_storage__')}
    environment |= dict(a.split('=', 1) for a in sys.argv[1:])
    print(*(f'{name}={value}' for name, value in environment.items()), sep='\n')
    print('#', *sorted(ports))


if __name__ == '__main__':
    sys.exit(main())
