"""The compose file: what each profile starts, what the draft names, secrets, and what every container must be."""
import re
from pathlib import Path

import yaml

import rules

DOCKER = rules.INFRA / 'docker'
# Of the deployment draft: service -> ports inside.
DRAFT = {'redpanda': [9092, 9644], 'postgres': [], 'minio': [9000], 'keycloak': [], 'orthanc': [4242, 8042], 'monai-infer': [], 'espnet': [], 'bahmni': [], 'grafana': []}
EDGE = {'orthanc', 'monai-infer', 'espnet', 'edge', 'site-ingress', 'pki'}
# Root file systems that others' images write to, and why it is left so.
WRITES_ROOT = {'redpanda': 'writes its configuration', 'keycloak': 'builds itself at the first start', 'orthanc': 'writes its configuration', 'bahmni': 'unpacks modules', 'bahmni-db': 'entry point writes', 'bahmni-web': 'nginx cache'}
KEEPS_CAPABILITIES = {'bahmni', 'bahmni-db', 'bahmni-web'}


def load():
    services = {}
    for file in sorted(DOCKER.glob('docker-compose*.yml')):
        services |= yaml.safe_load(file.read_text())['services']
    return services


def profiles(services):
    return {p for s in services.values() for p in s.get('profiles', [])}


def started(services, profile):
    return {name for name, s in services.items() if not s.get('profiles') or profile in s['profiles']}


def closes(services):
    for profile in profiles(services):
        up = started(services, profile)
        for name in up:
            for need in services[name].get('depends_on', {}):
                if need not in up:
                    yield f'profile {profile}: {name} needs {need}, which it does not start'


def edge_is_exact(services):
    if (up := started(services, 'edge')) != EDGE:
        yield f'profile edge starts {sorted(up)}, not {sorted(EDGE)}'


def is_the_draft(services):
    for name, ports in DRAFT.items():
        published = {int(p.rsplit(':', 1)[1]) for p in services.get(name, {}).get('ports', [])}
        if name not in services or not set(ports) <= published:
            yield f'{name}: the draft has it with ports {ports}'


def ports_are_local(services):
    for name, s in services.items():
        for port in s.get('ports', []):
            if not port.startswith('${BIND:-127.0.0.1}:'):
                yield f'{name}: {port} is published to everybody'


def secrets_are_asked_for(services):
    text = ''.join(f.read_text() for f in DOCKER.glob('docker-compose*.yml'))
    asked, optional = set(re.findall(r'\$\{(\w+):\?', text)), set(re.findall(r'\$\{(\w+):-', text))
    example = dict(line.split('=', 1) for line in (DOCKER / '.env.example').read_text().splitlines() if '=' in line and not line.startswith('#'))
    for name in asked ^ {k for k, v in example.items() if v == ''}:
        yield f'{name}: asked for by the compose file, or an empty line in .env.example, but not both'
    for name in optional ^ {k for k, v in example.items() if v != ''}:
        yield f'{name}: has a default in the compose file, or a line in .env.example, but not both'
    for name, s in services.items():
        for key, value in s.get('environment', {}).items():
            if re.search(r'PASSWORD|SECRET|TOKEN', key) and not re.search(r'\$\{\w+:\?', str(value)):
                yield f'{name}: {key} is in the file'


def images_are_locked(services):
    known = {rules.generate.image_of(n, rules.LOCK) for n in rules.LOCK['images']}
    for name, s in services.items():
        image = re.sub(r'\$\{\w+_IMAGE:-(.*)\}$', r'\1', s['image'])
        if not image.startswith('${YIZHAN_IMAGES') and image not in known:
            yield f'{name}: {image} is not in infra/images.lock'


def is_bounded(services):
    for name, s in services.items():
        if not all(k in s for k in ('mem_limit', 'pids_limit', 'healthcheck')) or s.get('logging', {}).get('options', {}).get('max-size') is None:
            yield f'{name}: lacks a limit of memory, processes or log, or a health check'


def is_hardened(services):
    for name, s in services.items():
        if 'no-new-privileges:true' not in s.get('security_opt', []) or (name not in KEEPS_CAPABILITIES and s.get('cap_drop') != ['ALL']) or (name not in WRITES_ROOT and s.get('read_only') is not True):
            yield f'{name}: may gain privileges, keeps capabilities or writes to its root'


def service_apart_is_reached(services):
    """One of ours that has a port for others has the certificates, the root and the flow list of the policies for it; nobody else reads the authority's key."""
    volumes = lambda s: {v.rsplit(':', 2 if v.endswith(':ro') else 1)[1 if v.endswith(':ro') else -1] for v in s.get('volumes', [])}
    for name, s in services.items():
        environment = s.get('environment', {})
        if name in ('centre', 'ingress', 'site-ingress') or any(k.startswith('YIZHAN_service-tls') or k == 'YIZHAN_web__url' for k in environment) or name in ('monai-infer', 'espnet'):
            if '/pki/services' not in volumes(s) or s.get('depends_on', {}).keys().isdisjoint({'pki', 'centre'}):
                yield f'{name}: it starts before it has a certificate'
        if '/data' not in volumes(s) and s.get('image', '').startswith('${YIZHAN_IMAGES') and name != 'pki':
            yield f'{name}: it keeps who it is in /data, and its root is read-only'
        if name in ('monai-infer', 'espnet'):
            own = {'monai-infer': 'ai-infer', 'espnet': 'nmt-asr'}[name]
            wanted = {'YIZHAN_web__url': 'http://127.0.0.1:8080;https://0.0.0.0:8081', 'YIZHAN_service-tls__certificatePath': f'/pki/services/{own}/tls.crt', 'YIZHAN_service-tls__keyPath': f'/pki/services/{own}/tls.key',
                      'YIZHAN_service-tls__rootPath': '/pki/services/root.crt', 'YIZHAN_service-tls__flowsPath': '/etc/yizhan/flows.yaml'}
            if any(environment.get(k) != v for k, v in wanted.items()) or '/etc/yizhan/flows.yaml' not in volumes(s):
                yield f'{name}: its web listener stays on its loopback, or lacks what service-tls needs'
            if f"{own}={name}" not in services['pki']['command']:
                yield f'{name}: nobody issues its certificate'
        if '/pki/centre' in volumes(s) and name not in ('centre', 'pki'):
            yield f"{name}: it can read the authority's key"


PROOFS = [
    (service_apart_is_reached, lambda s: s['monai-infer']['environment'].pop('YIZHAN_web__url')),
    (closes, lambda s: s['postgres'].update(profiles=['data'])),
    (edge_is_exact, lambda s: s['grafana'].pop('profiles')),
    (is_the_draft, lambda s: s['orthanc'].update(ports=['${BIND:-127.0.0.1}:8042:8042'])),
    (ports_are_local, lambda s: s['minio'].update(ports=['9000:9000'])),
    (secrets_are_asked_for, lambda s: s['postgres']['environment'].update(POSTGRES_PASSWORD='xxx')),
    (images_are_locked, lambda s: s['grafana'].update(image='grafana/grafana:10')),
    (is_bounded, lambda s: s['edge'].pop('mem_limit')),
    (is_hardened, lambda s: s['edge'].update(read_only=False)),
]


def check(gate, _):
    """Number of rules that found their planted fault."""
    proven = 0
    for rule, plant in PROOFS:
        gate('compose: ' + rule.__name__.replace('_', ' '), rule(load()))
        services = load()
        services = {k: dict(v) for k, v in services.items()}
        services = yaml.safe_load(yaml.safe_dump(services))
        plant(services)
        proven += gate(f'compose: {rule.__name__} is proven', [] if list(rule(services)) else ['the planted fault was not found'])
    return proven
