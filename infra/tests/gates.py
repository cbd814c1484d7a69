#!/usr/bin/env python3
"""Renders everything that can be rendered, holds each object against the schemas and each render against the rules.

Last lines: what was rendered, validated and proven; then "N passed, N failed, N skipped". Schemas are not part of the tree; without the
folder (YIZHAN_SCHEMAS, default ../shared/schemas) that part is skipped.
"""
import copy
import functools
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import compose
import rules

INFRA = rules.INFRA
ROOT = INFRA.parent
K8S = INFRA / 'k8s'
SCHEMAS = Path(os.environ.get('YIZHAN_SCHEMAS', ROOT.parent / 'shared' / 'schemas'))
counts = {'passed': 0, 'failed': 0, 'skipped': 0}


def gate(name, problems):
    problems = list(problems)
    counts['failed' if problems else 'passed'] += 1
    if problems:
        print(f'FAIL  {name}')
        for problem in problems[:20]:
            print(f'      {problem}')
    return not problems


def skip(name, why):
    counts['skipped'] += 1
    print(f'skip  {name}: {why}')


def kustomize(folder):
    done = subprocess.run(['kubectl', 'kustomize', folder], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise ValueError(done.stderr.strip()[:600])
    return [o for o in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if o]


def renders():
    """Name -> objects: base, every overlay, every component alone, in pairs and all together on the base."""
    components = sorted(p.name for p in (K8S / 'components').iterdir())
    sets = [(c,) for c in components] + list(itertools.combinations(components, 2)) + [tuple(components)]
    scratch = ROOT / 'artifacts' / 'deploy' / 'combinations'
    jobs = {'base': K8S / 'base', **{f'overlays/{p.name}': p for p in sorted((K8S / 'overlays').iterdir())}}
    for chosen in sets:
        folder = scratch / '+'.join(chosen)
        folder.mkdir(parents=True, exist_ok=True)
        relative = os.path.relpath(K8S, folder)
        (folder / 'kustomization.yaml').write_text(yaml.safe_dump({
            'apiVersion': 'kustomize.config.k8s.io/v1beta1', 'kind': 'Kustomization', 'resources': [f'{relative}/base'], 'components': [f'{relative}/components/{c}' for c in chosen]}))
        jobs['+'.join(chosen)] = folder
    rendered, problems = {}, []

    def one(item):
        try:
            return item[0], kustomize(item[1]), None
        except ValueError as e:
            return item[0], None, str(e)

    with ThreadPoolExecutor(2) as pool:
        for name, objects, error in pool.map(one, jobs.items()):
            if error:
                problems.append(f'{name}: {error}')
            else:
                rendered[name] = objects
    gate('render', problems)
    gate('a second render of the site is the same', [] if kustomize(K8S / 'overlays/edge') == rendered.get('overlays/edge') else ['it differs'])
    return rendered


class Schemas:
    def __init__(self):
        import jsonschema
        self.make = jsonschema.Draft7Validator
        self.loaded = {}
        self.index = {v: json.loads((SCHEMAS / 'kubernetes' / v / 'index.json').read_text()) for v in ('v1.30', 'v1.34')}

    def files(self, o):
        group, _, version = o['apiVersion'].rpartition('/')
        crd = SCHEMAS / 'crds' / group / f"{o['kind'].lower()}_{version}.json"
        if group and crd.exists():
            return [crd]
        name = f"{o['apiVersion']}/{o['kind']}"
        return [SCHEMAS / 'kubernetes' / v / index[name] for v, index in self.index.items() if name in index]

    def problems(self, o):
        files = self.files(o)
        group = o['apiVersion'].rpartition('/')[0]
        if not files or (len(files) == 1 and 'kubernetes' in files[0].parts):
            yield f"{rules.named(o)}: no schema knows {o['apiVersion']}/{o['kind']}"
        for file in files:
            for problem in self.against(file, o):
                yield f"{rules.named(o)} ({file.parent.name if 'kubernetes' in file.parts else group}): {problem}"

    def against(self, file, o):
        if file not in self.loaded:
            self.loaded[file] = self.make(json.loads(file.read_text()))
        return [f"{'/'.join(map(str, e.absolute_path)) or 'top'}: {e.message[:200]}" for e in itertools.islice(self.loaded[file].iter_errors(o), 3)]


def distinct(rendered, extra):
    seen = {}
    for o in itertools.chain(*rendered.values(), extra):
        seen.setdefault(hashlib.sha256(json.dumps(o, sort_keys=True, default=str).encode()).hexdigest(), o)
    return list(seen.values())


def check_schemas(rendered, extra):
    if not SCHEMAS.exists():
        skip('schemas', f'{SCHEMAS} is not there')
        return 0
    schemas, objects = Schemas(), distinct(rendered, extra)
    gate('every object against the schemas of its kind', itertools.chain(*(schemas.problems(o) for o in objects)))
    # What is planted must be found, or the schemas prove nothing.
    planted = copy.deepcopy(rules._audit(rendered['base']))
    planted['spec']['template']['spec']['containers'][0]['imagePullPolcy'] = 'Always'
    unknown = {'apiVersion': 'v2', 'kind': 'Deployment', 'metadata': {'name': 'x'}}
    rollout = copy.deepcopy(rules._first(rendered['overlays/stage'], 'Rollout', 'ai-infer'))
    rollout['spec']['strategy']['canary']['steps'][0]['setWeight'] = '10'
    gate('schemas find a misspelt key, a wrong type and an unknown kind', [f'not found in {rules.named(o)}' for o in (planted, unknown, rollout) if not list(schemas.problems(o))])
    store = SCHEMAS / 'schemastore'
    files = [(p, store / 'kustomization.json') for p in K8S.rglob('kustomization.yaml')] + [(INFRA / 'helm/yizhan/Chart.yaml', store / 'chart.json'), (INFRA / 'helm/helmfile.yaml', store / 'helmfile.json')]
    gate('kustomization, chart and helmfile files', [f'{p.relative_to(ROOT)}: {e}' for p, schema in files if p.exists() for e in schemas.against(schema, yaml.safe_load(p.read_text()))])
    stack = INFRA / 'docker/docker-compose.yml'
    if stack.exists():
        included = sorted(stack.parent.glob('*.yml'))
        gate('compose files', [f'{p.name}: {e}' for p in included for e in schemas.against(SCHEMAS / 'compose/compose-spec.json', yaml.safe_load(p.read_text()))])
    return len(objects)


def check_rules(rendered):
    for rule, _, _ in rules.PROOFS:
        gate(rule.__name__.replace('_', ' '), (f'{name}: {problem}' for name, objects in rendered.items() for problem in rule(objects)))
    proven = 0
    for rule, place, plant in rules.PROOFS:
        objects = copy.deepcopy(rendered[place])
        plant(objects)
        proven += gate(f'{rule.__name__} is proven', [] if list(rule(objects)) else ['the planted fault was not found'])
    return proven


def check_chart(rendered):
    """One site file, two ways: its values in the chart, and its patches of Argo CD on the overlay, give the same objects."""
    sys.path.insert(0, str(INFRA / 'helm'))
    import values as chart
    template = (INFRA / 'helm/yizhan/templates/site.yaml').read_text()
    problems = []
    for file in sorted((ROOT / 'sites').glob('*.yaml')):
        values = chart.values(yaml.safe_load(file.read_text()))
        filled = re.sub(r'\{\{ \.Values\.([A-Za-z.]+) \}\}', lambda m: functools.reduce(lambda v, k: v[k], m[1].split('.'), values), template)
        wanted = copy.deepcopy(rendered['overlays/edge'])
        for o in wanted:
            if o['kind'] == 'ConfigMap' and o['metadata']['name'] == 'site':
                o['data'] |= {k: v for k, v in {'siteId': values['siteId'], 'centreUrl': values['network']['centreUrl'], 'hardwareProfile': values['hardwareProfile']}.items() if k in o['data']}
        if list(yaml.load_all(filled, Loader=yaml.CSafeLoader)) != wanted:
            problems.append(f'{file.name}: the chart and the overlay differ')
        if shutil.which('helm'):
            done = subprocess.run(['helm', 'template', 'yizhan', INFRA / 'helm/yizhan', '-f', '-'], input=yaml.safe_dump(values), capture_output=True, text=True, timeout=60)
            ordered = lambda objects: sorted(json.dumps(o, sort_keys=True) for o in objects if o)
            if done.returncode or ordered(yaml.safe_load_all(done.stdout)) != ordered(wanted):
                problems.append(f'{file.name}: helm renders something else: {done.stderr[:200]}')
    gate('the chart gives what the overlay gives, for every site file', problems)
    if not shutil.which('helm'):
        skip('helm template', 'there is no helm on PATH; the values were put in by hand')
    import jsonschema
    schema = json.loads((INFRA / 'helm/yizhan/values.schema.json').read_text())
    good = chart.values(yaml.safe_load((ROOT / 'sites/minimal-clinic.yaml').read_text()))
    bad = [{**good, 'siteId': '$(touch x)'}, {**good, 'siteID': 'x'}, {**good, 'hardwareProfile': 'rk3576'}, {**good, 'network': {'centreUrl': 'http://centre.example'}}, {}]
    valid = jsonschema.Draft7Validator(schema).is_valid
    gate("the chart's schema takes a site's values and refuses wrong ones", [] if valid(good) and not any(map(valid, bad)) else ['it does not'])


def applications():
    """Objects of Argo CD and Fleet, which no render contains; each path that they name is a folder of this tree."""
    folder = ROOT / 'apps'
    objects = [o for p in sorted(folder.glob('*.yaml')) + sorted(folder.glob('fleet/*.yaml')) if p.name != 'fleet.yaml' for o in yaml.safe_load_all(p.read_text()) if o]
    missing = []

    def paths(value):
        if isinstance(value, dict):
            for k, v in value.items():
                if k in ('path', 'paths') and isinstance(v, (str, list)):
                    yield from [v] if isinstance(v, str) else [x for x in v if isinstance(x, str)]
                else:
                    yield from paths(v)
        elif isinstance(value, list):
            for v in value:
                yield from paths(v)

    for o in objects:
        for path in paths(o.get('spec', {})):
            if '{{' not in path and not path.startswith('/') and not list(ROOT.glob(path)):
                missing.append(f'{rules.named(o)}: {path} is not in the tree')
    if objects:
        gate('paths of applications are in the tree', missing)
    return objects


def main():
    written = subprocess.run([sys.executable, INFRA / 'generate.py', '--check'], capture_output=True, text=True)
    gate('generated files are current', written.stdout.splitlines() if written.returncode else [])
    rendered = renders()
    extra = applications()
    if not {'base', 'overlays/edge', 'overlays/stage'} <= rendered.keys():
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
        return 1
    validated = check_schemas(rendered, extra)
    proven = check_rules(rendered)
    check_chart(rendered)
    proven += compose.check(gate, skip)
    print(f'{sum(map(len, rendered.values())) + len(extra)} objects rendered in {len(rendered)} renders, {validated} distinct ones validated against Kubernetes 1.30 and 1.34 and their CRDs, {proven} of {len(rules.PROOFS) + len(compose.PROOFS)} rules proven')
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
