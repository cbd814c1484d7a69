#!/usr/bin/env python3
"""Prints a CycloneDX 1.5 list of what an image contains: NuGet packages of its deps.json and Debian packages of its base.

sbom.py NAME VERSION DEPS_JSON PACKAGES
"""
import json
import sys

name, version, deps, packages = sys.argv[1:]
parts = []
for key, library in sorted(json.load(open(deps, encoding='utf-8-sig'))['libraries'].items()):
    if library['type'] == 'package':
        package, _, of = key.partition('/')
        parts.append({'type': 'library', 'name': package, 'version': of, 'purl': f'pkg:nuget/{package}@{of}'})
for line in open(packages, encoding='utf-8'):
    package, _, of = line.strip().partition(' ')
    parts.append({'type': 'library', 'name': package, 'version': of, 'purl': f'pkg:deb/debian/{package}@{of}?distro=bookworm'})
print(json.dumps({'bomFormat': 'CycloneDX', 'specVersion': '1.5', 'version': 1, 'metadata': {'component': {'type': 'container', 'name': f'yizhan/{name}', 'version': version}}, 'components': parts}, indent=1))
