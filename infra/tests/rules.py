"""What schemas cannot see: how objects of one render fit together, and what every pod must be. Each rule yields sentences, and each has a
fault that it must find (`PROOFS`): a rule that never fired proves nothing."""
import re
import sys
from pathlib import Path

INFRA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(INFRA))
import generate  # noqa: E402

SERVICES, FLOWS, LOCK = generate.load()
# Secrets that operators bring: by ExternalSecret or in a file that SOPS encrypted.
BROUGHT = {('data', s['secret']['name'], key) for s in SERVICES['statefulsets'].values() if 'secret' in s for key in s['secret']['keys']}
BROUGHT |= {('platform', 'backup', key) for key in ('connection', 's3.credentials')}
BROUGHT |= {('edge', s['secret']['name'], key) for s in (generate.ORTHANC, generate.STATION) for key in s['secret']['keys']}
WORKLOADS = ('Deployment', 'StatefulSet', 'DaemonSet')
APP = 'app.kubernetes.io/name'


def kind(objects, *kinds):
    return [o for o in objects if o['kind'] in kinds]


def key(o):
    return o['metadata'].get('namespace'), o['metadata']['name']


def named(o):
    return f"{o['kind']} {o['metadata'].get('namespace', '')}/{o['metadata']['name']}"


def pods(objects):
    return [(o, o['spec']['template']) for o in kind(objects, *WORKLOADS)]


def every(objects):
    """Pods of workloads, and those that run to their end."""
    return pods(objects) + [(o, o['spec']['template']) for o in kind(objects, 'Job')] + [(o, o['spec']['jobTemplate']['spec']['template']) for o in kind(objects, 'CronJob')]


def parts(objects):
    return [(o, t['spec'], c) for o, t in every(objects) for c in t['spec']['containers'] + t['spec'].get('initContainers', [])]


def containers(objects):
    return [(o, t['spec'], c) for o, t in pods(objects) for c in t['spec']['containers'] + t['spec'].get('initContainers', [])]


def matches(selector, labels):
    return all(labels.get(k) == v for k, v in selector.items())


def selected(objects, namespace, selector):
    return [t for o, t in pods(objects) if o['metadata']['namespace'] == namespace and matches(selector, t['metadata']['labels'])]


def ports_of(template):
    return {p['name']: p['containerPort'] for c in template['spec']['containers'] for p in c.get('ports', [])}


def quantity(value):
    number, unit = re.fullmatch(r'([0-9.]+)([A-Za-z]*)', str(value)).groups()
    return float(number) * {'': 1, 'm': 0.001, 'Ki': 2**10, 'Mi': 2**20, 'Gi': 2**30, 'Ti': 2**40}[unit]


# ---- how objects fit together

def selector_matches_template(objects):
    for o, template in pods(objects):
        if not matches(o['spec']['selector']['matchLabels'], template['metadata']['labels']):
            yield f'{named(o)}: its selector does not match its pods'


def service_has_pods_and_ports(objects):
    for s in kind(objects, 'Service'):
        selector = s['spec'].get('selector', {})
        if 'cnpg.io/cluster' in selector:
            if not any(c['metadata']['name'] == selector['cnpg.io/cluster'] for c in kind(objects, 'Cluster')):
                yield f"{named(s)}: there is no cluster {selector['cnpg.io/cluster']}"
            continue
        found = selected(objects, s['metadata']['namespace'], selector)
        if not found:
            yield f'{named(s)}: no pod has the labels {selector}'
        for port in s['spec']['ports']:
            if any(port['targetPort'] not in ports_of(t) and port['targetPort'] not in ports_of(t).values() for t in found):
                yield f"{named(s)}: its pods have no port {port['targetPort']}"


def probe_port_exists(objects):
    for o, _, c in containers(objects):
        known = {p['name'] for p in c.get('ports', [])} | {p['containerPort'] for p in c.get('ports', [])}
        for name in ('startupProbe', 'readinessProbe', 'livenessProbe'):
            for how in ('httpGet', 'tcpSocket'):
                if how in c.get(name, {}) and c[name][how]['port'] not in known:
                    yield f"{named(o)}: {name} asks port {c[name][how]['port']}, which is none of it"


def config_maps(objects):
    """(namespace, name) -> keys; those that trust-manager writes are in every namespace that its selector names."""
    maps = {key(m): set(m.get('data', {})) for m in kind(objects, 'ConfigMap')}
    for bundle in kind(objects, 'Bundle'):
        target = bundle['spec']['target']
        for n in kind(objects, 'Namespace'):
            if matches(target['namespaceSelector']['matchLabels'], n['metadata'].get('labels', {})):
                maps[(n['metadata']['name'], bundle['metadata']['name'])] = {target['configMap']['key']}
    return maps


def config_map_exists(objects):
    maps = config_maps(objects)
    for o, spec, c in parts(objects):
        namespace = o['metadata']['namespace']
        for env in c.get('env', []):
            if ref := env.get('valueFrom', {}).get('configMapKeyRef'):
                if ref['key'] not in maps.get((namespace, ref['name']), set()):
                    yield f"{named(o)}: there is no {ref['key']} in the ConfigMap {namespace}/{ref['name']}"
        for volume in spec.get('volumes', []):
            if 'configMap' in volume and (namespace, volume['configMap']['name']) not in maps:
                yield f"{named(o)}: there is no ConfigMap {namespace}/{volume['configMap']['name']}"


def secret_is_known(objects):
    made = {(c['metadata']['namespace'], c['spec']['secretName']) for c in kind(objects, 'Certificate')}
    brought = {(n, s) for n, s, _ in BROUGHT}
    for o, spec, _ in parts(objects):
        for volume in spec.get('volumes', []):
            if 'secret' in volume:
                place = (o['metadata']['namespace'], volume['secret']['secretName'])
                keys = {i['key'] for i in volume['secret'].get('items', [])}
                if volume['secret'].get('optional') or (place not in made and (place not in brought or not keys <= {k for n, s, k in BROUGHT if (n, s) == place})):
                    yield f'{named(o)}: nobody brings the Secret {place[0]}/{place[1]} with {sorted(keys)}'


def service_account_exists(objects):
    accounts = {key(a): a for a in kind(objects, 'ServiceAccount')}
    for o, template in every(objects):
        account = accounts.get((o['metadata']['namespace'], template['spec'].get('serviceAccountName')))
        if account is None or account.get('automountServiceAccountToken') is not False or template['spec'].get('automountServiceAccountToken') is not False:
            yield f'{named(o)}: it needs a service account of its own without a mounted token'


def disruption_budget_fits(objects):
    for p in kind(objects, 'PodDisruptionBudget'):
        if not selected(objects, p['metadata']['namespace'], p['spec']['selector']['matchLabels']):
            yield f'{named(p)}: no pod has its labels'
        if 'minAvailable' in p['spec']:
            yield f'{named(p)}: minAvailable stops every drain of a node when there is one replica'


def every_workload_has_a_budget(objects):
    budgets = [p['spec']['selector']['matchLabels'] for p in kind(objects, 'PodDisruptionBudget')]
    for o in kind(objects, 'Deployment', 'StatefulSet'):
        if not any(matches(b, o['spec']['template']['metadata']['labels']) for b in budgets):
            yield f'{named(o)}: it has no PodDisruptionBudget'


def volume_claim_exists(objects):
    claims = {key(c) for c in kind(objects, 'PersistentVolumeClaim')}
    for o, template in every(objects):
        for volume in template['spec'].get('volumes', []):
            if 'persistentVolumeClaim' in volume and (o['metadata']['namespace'], volume['persistentVolumeClaim']['claimName']) not in claims:
                yield f"{named(o)}: there is no claim {volume['persistentVolumeClaim']['claimName']}"


def volume_mount_exists(objects):
    for o, spec, c in parts(objects):
        volumes = {v['name'] for v in spec.get('volumes', [])} | {v['metadata']['name'] for v in o['spec'].get('volumeClaimTemplates', [])}
        for mount in c.get('volumeMounts', []):
            if mount['name'] not in volumes:
                yield f"{named(o)}: there is no volume {mount['name']}"


def storage_class_exists(objects):
    classes = {c['metadata']['name'] for c in kind(objects, 'StorageClass')}
    asked = [(c, c['spec']) for c in kind(objects, 'PersistentVolumeClaim')] + [(s, t['spec']) for s in kind(objects, 'StatefulSet') for t in s['spec']['volumeClaimTemplates']]
    for o, spec in asked:
        if 'storageClassName' in spec and spec['storageClassName'] not in classes:
            yield f"{named(o)}: there is no storage class {spec['storageClassName']}"
        if 'ReadWriteMany' in spec['accessModes'] and o['kind'] == 'StatefulSet':
            yield f'{named(o)}: a database on a shared volume'


def ingress_backend_exists(objects):
    services = {key(s): {p['name'] for p in s['spec']['ports']} for s in kind(objects, 'Service')}
    traefik = {key(t) for t in kind(objects, 'TraefikService')}
    wanted = []
    for i in kind(objects, 'Ingress'):
        wanted += [(i, p['backend']['service']['name'], p['backend']['service']['port']['name']) for r in i['spec']['rules'] for p in r['http']['paths']]
    for i in kind(objects, 'IngressRoute', 'IngressRouteTCP'):
        wanted += [(i, s['name'], s.get('port')) for r in i['spec']['routes'] for s in r['services']]
    for t in kind(objects, 'TraefikService'):
        wanted += [(t, s['name'], s['port']) for s in t['spec']['weighted']['services']]
    for o, name, port in wanted:
        if port not in services.get((o['metadata']['namespace'], name), ()) and (o['metadata']['namespace'], name) not in traefik:
            yield f'{named(o)}: there is no Service {name} with port {port}'


def rollout_fits(objects):
    deployments = {key(d) for d in kind(objects, 'Deployment')}
    services, templates = {key(s) for s in kind(objects, 'Service')}, {key(t) for t in kind(objects, 'AnalysisTemplate')}
    for r in kind(objects, 'Rollout'):
        namespace, canary = r['metadata']['namespace'], r['spec']['strategy']['canary']
        if (namespace, r['spec']['workloadRef']['name']) not in deployments:
            yield f"{named(r)}: there is no Deployment {r['spec']['workloadRef']['name']}"
        wanted = {(namespace, canary[k]) for k in ('stableService', 'canaryService')}
        used = {(namespace, t['templateName']) for s in canary['steps'] for t in s.get('analysis', {}).get('templates', [])}
        if not wanted <= services or not used or not used <= templates:
            yield f'{named(r)}: a Service or an AnalysisTemplate that it names is missing'
        if [s['setWeight'] for s in canary['steps'] if 'setWeight' in s] != [10, 50, 100]:
            yield f'{named(r)}: its steps are not 10, 50, 100'


def single_writer_is_no_canary(objects):
    owners = {key(d) for d in kind(objects, 'Deployment') if any('persistentVolumeClaim' in v for v in d['spec']['template']['spec']['volumes'])}
    for r in kind(objects, 'Rollout'):
        if (r['metadata']['namespace'], r['spec']['workloadRef']['name']) in owners:
            yield f'{named(r)}: two writers of one disk'
    for d in kind(objects, 'Deployment'):
        if key(d) in owners and (d['spec']['replicas'] != 1 or d['spec']['strategy']['type'] != 'Recreate'):
            yield f'{named(d)}: it owns a disk, so it has one replica and is replaced, not doubled'


def cron_job_is_bounded(objects):
    """One at a time, an end to each, no endless repetition; and each command is one that there is, so that a quarter does not pass before somebody sees that it is not."""
    drills = {d['metadata']['name'] for d in kind(objects, 'CronJob') if d['metadata']['name'].startswith('drill-')}
    if any(d['metadata']['name'] == 'fleet' for d in kind(objects, 'Deployment')) and drills != {f'drill-{d}' for d in declared_drills()}:
        yield f'drills: there are CronJobs {sorted(drills)}, and the command has {sorted(declared_drills())}'
    for j in kind(objects, 'CronJob'):
        job, template = j['spec']['jobTemplate']['spec'], j['spec']['jobTemplate']['spec']['template']['spec']
        if j['spec'].get('concurrencyPolicy') != 'Forbid' or not j['spec'].get('startingDeadlineSeconds') or not job.get('activeDeadlineSeconds') or job.get('backoffLimit', 6) > 2 or template.get('restartPolicy') != 'Never':
            yield f'{named(j)}: it may run twice at a time, for ever, or again and again'
        if len(j['spec']['schedule'].split()) != 5 or 'timeZone' not in j['spec']:
            yield f"{named(j)}: '{j['spec']['schedule']}' is no schedule of five parts in a time zone"
        if template['containers'][0].get('args', [''])[:2] not in (['drill', 'run'], ['database', 'backup']):
            yield f"{named(j)}: yizhan {' '.join(template['containers'][0].get('args', []))[:40]} is not meant to run by itself"


def declared_drills():
    """The kinds that the command has, of the list in contracts/DrillFinished.cs."""
    listed = re.search(r'IReadOnlyList<string> All \{ get; \} = \[([^\]]+)\]', (INFRA.parent / 'contracts/DrillFinished.cs').read_text())
    return re.findall(r'"([a-z-]+)"', listed[1])


def no_data_is_no_success(objects):
    for t in kind(objects, 'AnalysisTemplate'):
        for m in t['spec']['metrics']:
            if not all(m[c].startswith('len(result) > 0 && ') for c in ('successCondition', 'failureCondition')) or 'inconclusiveLimit' not in m:
                yield f"{named(t)}: without data {m['name']} would pass or fail"


def default_deny(objects):
    denied = {p['metadata']['namespace'] for p in kind(objects, 'NetworkPolicy') if p['spec']['podSelector'] == {} and set(p['spec']['policyTypes']) == {'Ingress', 'Egress'} and not p['spec'].get('ingress') and not p['spec'].get('egress')}
    for o, _ in every(objects):
        if o['metadata']['namespace'] not in denied:
            yield f"{named(o)}: its namespace has no default-deny policy"


def policies_are_the_flows(objects):
    """What the policies allow at both ends is what flows.yaml says, no more and no less, among the workloads of this render."""
    where = {t['metadata']['labels'][APP]: (o['metadata']['namespace'], set(ports_of(t).values())) for o, t in every(objects)}
    if any(c['metadata']['name'] == 'postgres' for c in kind(objects, 'Cluster')):
        where['postgres'] = ('data', {5432})
    outside = {'ingress', 'prometheus', 'tempo', 'outside'}

    def names(peers):
        for peer in peers:
            if 'ipBlock' in peer:
                yield 'outside'
            elif peer in generate.PEERS.values():
                yield next(n for n, p in generate.PEERS.items() if p == peer)
            else:
                name = peer['podSelector']['matchLabels'][APP]
                if name not in where or peer['namespaceSelector']['matchLabels']['kubernetes.io/metadata.name'] == where[name][0]:
                    yield name

    inward, outward = set(), set()
    for p in kind(objects, 'NetworkPolicy'):
        name = p['spec']['podSelector'].get('matchLabels', {}).get(APP)
        if name not in where or p['metadata']['namespace'] != where[name][0]:
            continue
        inward |= {(n, name, port['port']) for rule in p['spec'].get('ingress', []) for n in names(rule['from']) for port in rule['ports']}
        outward |= {(name, n, port['port']) for rule in p['spec'].get('egress', []) for n in names(rule['to']) for port in rule['ports']}
    ports = {s['metadata']['name']: {p['name']: p['port'] for p in s['spec']['ports']} for s in kind(objects, 'Service')}
    wanted = {(f['from'], f['to'], ports.get(f['to'], {}).get(f['port'], f['port'])) for f in FLOWS}
    there = lambda name: name in where or name in outside
    for found, end in ((inward, 1), (outward, 0)):
        found = {f for f in found if there(f[0]) and there(f[1])}
        expected = {f for f in wanted if there(f[0]) and there(f[1]) and f[end] in where}
        for f in found ^ expected:
            yield f"policy: {f[0]} to {f[1]} port {f[2]} is {'allowed and not a flow' if f in found else 'a flow and not allowed'} at {f[end]}"


def quota_holds(objects):
    sums, quotas = {}, {q['metadata']['namespace']: q['spec']['hard'] for q in kind(objects, 'ResourceQuota')}
    for o, _, c in containers(objects):
        for unit in ('cpu', 'memory'):
            place = (o['metadata']['namespace'], unit)
            sums[place] = sums.get(place, 0) + o['spec'].get('replicas', 1) * quantity(c['resources']['requests'][unit])
    # Of what runs at a time, the largest of each kind: its nights are different ones.
    nights = {}
    for o in kind(objects, 'CronJob'):
        for c in o['spec']['jobTemplate']['spec']['template']['spec']['containers']:
            for unit in ('cpu', 'memory'):
                place = (o['metadata']['namespace'], unit, o['metadata']['labels'][APP])
                nights[place] = max(nights.get(place, 0), quantity(c['resources']['requests'][unit]))
    for (namespace, unit, _), most in nights.items():
        sums[(namespace, unit)] = sums.get((namespace, unit), 0) + most
    for (namespace, unit), total in sums.items():
        if namespace not in quotas or total > quantity(quotas[namespace][f'requests.{unit}']):
            yield f"quota of {namespace}: requests of {unit} are {total:g}, allowed {quotas.get(namespace, {}).get(f'requests.{unit}', 'nothing')}"
    if any(t['metadata']['labels'][APP] == 'station' for _, t in pods(objects)):
        profile = SERVICES['profiles']['edge']
        for unit, most in (('cpu', profile['cpu']), ('memory', profile['memoryGi'] * 2**30)):
            if (total := sum(v for (_, u), v in sums.items() if u == unit)) > most:
                yield f'profile edge: requests of {unit} are {total:g}, the box has {most:g}'


def namespace_is_known(objects):
    known = {n['metadata']['name'] for n in kind(objects, 'Namespace')} | {'cert-manager', 'kube-system', 'longhorn-system', 'rook-ceph'}
    for o in objects:
        if o['metadata'].get('namespace', 'platform') not in known:
            yield f'{named(o)}: there is no such namespace'


def image_is_locked(objects):
    known = {generate.image_of(name, LOCK) for name in list(LOCK['images']) + [*SERVICES['deployments'], 'host', 'cli']}
    for o, _, c in parts(objects):
        if c['image'] not in known:
            yield f"{named(o)}: {c['image']} is not in infra/images.lock"
        if re.search(r':(latest|stable|main|v?[0-9]+)$', c['image']) or ':' not in c['image'].split('/')[-1]:
            yield f"{named(o)}: {c['image']} may be another image tomorrow"


def site_has_nothing_of_the_centre(objects):
    if not any(t['metadata']['labels'][APP] == 'station' for _, t in pods(objects)):
        return
    for o, _, c in parts(objects):
        if o['kind'] == 'StatefulSet' or o['metadata']['labels'].get('yizhan.io/runs-at') == 'centre':
            yield f'{named(o)}: only of the centre'
        name = next((n for n in LOCK['images'] if generate.image_of(n, LOCK) == c['image']), None)
        if name and 'arm64' not in LOCK['images'][name]['platforms']:
            yield f'{named(o)}: there is no arm64 image of it'


# ---- how services reach each other

# Settings that make a port of ours one that others reach; {port} is its number.
LISTENS = {
    'web': {'YIZHAN_web__url': 'http://127.0.0.1:8080;https://0.0.0.0:{port}'},
    'dicom': {'YIZHAN_pacs-gw__dicomAddress': '0.0.0.0'},
    'link': {'YIZHAN_fleet__linkAddress': '0.0.0.0'},
    'enrol': {'YIZHAN_fleet__linkAddress': '0.0.0.0'},
    'mllp': {'YIZHAN_emr-adapter__hl7__address': '0.0.0.0', 'YIZHAN_emr-adapter__hl7__port': '{port}'},
    'mqtt': {'YIZHAN_mqtt-bridge__address': '0.0.0.0', 'YIZHAN_mqtt-bridge__port': '{port}'},
}


def is_ours(container):
    return container['image'].startswith(LOCK['ours'] + '/')


def settings(container):
    return {e['name']: e.get('value') for e in container.get('env', [])}


def declared_port_is_listened_on(objects):
    """A listener of ours is on the loopback unless its settings say otherwise: a port without them looks dead."""
    for o, _, c in containers(objects):
        if is_ours(c):
            for port in c['ports']:
                for name, value in LISTENS[port['name']].items():
                    if settings(c).get(name) != value.format(port=port['containerPort']):
                        yield f"{named(o)}: port {port['name']} is declared, and {name} is not {value.format(port=port['containerPort'])}"


def service_tls_files_are_there(objects):
    """Each file that service-tls names is in a Secret or ConfigMap that is mounted there, and the flow list is the one of the policies."""
    made = {(c['metadata']['namespace'], c['spec']['secretName']) for c in kind(objects, 'Certificate')}
    maps, flows = config_maps(objects), (INFRA / 'flows.yaml').read_text()
    for o, spec, c in containers(objects):
        if not is_ours(c):
            continue
        namespace, volumes = o['metadata']['namespace'], {v['name']: v for v in spec['volumes']}
        for setting in ('certificatePath', 'keyPath', 'rootPath', 'flowsPath'):
            folder, _, file = (settings(c).get(f'YIZHAN_service-tls__{setting}') or '/').rpartition('/')
            volume = next((volumes[m['name']] for m in c['volumeMounts'] if m['mountPath'] == folder), {})
            if not ((namespace, volume.get('secret', {}).get('secretName')) in made and file in ('tls.crt', 'tls.key', 'ca.crt')
                    or file in maps.get((namespace, volume.get('configMap', {}).get('name')), ())):
                yield f'{named(o)}: nobody brings the file of service-tls:{setting}'
    for m in kind(objects, 'ConfigMap'):
        if m['metadata']['name'] == 'flows' and m['data']['flows.yaml'] != flows:
            yield f'{named(m)}: it is not infra/flows.yaml'


def caller_has_an_identity(objects):
    """Who calls a web port shows a certificate that says who it is; without one the listener refuses what the policy lets through."""
    ids = {uri.rpartition('/')[2] for c in kind(objects, 'Certificate') for uri in c['spec'].get('uris', [])}
    here = {t['metadata']['labels'][APP] for _, t in pods(objects)}
    ours = {t['metadata']['labels'][APP] for _, t in pods(objects) if is_ours(t['spec']['containers'][0])}
    at_centre = 'fleet' in here
    for f in FLOWS:
        if f['port'] == 'web' and f['to'] in ours and (f['from'] in here or (at_centre and f['from'] in generate.PEERS)) and f['from'] not in ids:
            yield f"{f['from']} calls {f['to']} and has no certificate that names it"


def ingress_shows_a_certificate(objects):
    """What comes in from browsers goes on to services over TLS, with the certificate of `ingress` and a look at theirs."""
    transports = {key(t): t['spec'] for t in kind(objects, 'ServersTransport')}
    for route in kind(objects, 'IngressRoute'):
        for s in (s for r in route['spec']['routes'] for s in r['services']):
            transport = transports.get((route['metadata']['namespace'], s.get('serversTransport')), {})
            if s.get('scheme') != 'https' or transport.get('certificatesSecrets') != ['ingress-tls'] or not transport.get('rootCAsSecrets') or transport.get('serverName') != f"{s['name']}.platform.svc" or transport.get('insecureSkipVerify'):
                yield f"{named(route)}: {s['name']} is called without certificates at both ends"
    for i in kind(objects, 'Ingress'):
        notes = {k.rpartition('/')[2]: v for k, v in i['metadata'].get('annotations', {}).items()}
        for name in (p['backend']['service']['name'] for r in i['spec']['rules'] for p in r['http']['paths']):
            if (notes.get('backend-protocol'), notes.get('proxy-ssl-secret'), notes.get('proxy-ssl-verify'), notes.get('proxy-ssl-name')) != ('HTTPS', 'platform/ingress-tls', 'on', f'{name}.platform.svc'):
                yield f'{named(i)}: {name} is called without certificates at both ends'
    for m in kind(objects, 'ServiceMonitor'):
        for e in m['spec']['endpoints']:
            tls = e.get('tlsConfig', {})
            if e['port'] == 'web' and (e.get('scheme') != 'https' or tls.get('serverName') != f"{m['metadata']['name']}.platform.svc" or tls.get('cert', {}).get('secret', {}).get('name') != 'prometheus-tls' or tls.get('insecureSkipVerify')):
                yield f'{named(m)}: Prometheus asks without certificates at both ends'


# ---- what every pod must be

def runs_without_root(objects):
    for o, t in every(objects):
        s = t['spec'].get('securityContext', {})
        if s.get('runAsNonRoot') is not True or not s.get('runAsUser'):
            yield f'{named(o)}: runAsNonRoot and a user are missing'


def seccomp_is_on(objects):
    for o, t in every(objects):
        if t['spec'].get('securityContext', {}).get('seccompProfile', {}).get('type') != 'RuntimeDefault':
            yield f'{named(o)}: no seccomp profile'


def no_escalation(objects):
    for o, _, c in parts(objects):
        if c.get('securityContext', {}).get('allowPrivilegeEscalation') is not False or c['securityContext'].get('privileged'):
            yield f'{named(o)}: {c["name"]} may gain privileges'


def no_capabilities(objects):
    for o, _, c in parts(objects):
        s = c.get('securityContext', {}).get('capabilities', {})
        if s.get('drop') != ['ALL'] or s.get('add'):
            yield f'{named(o)}: {c["name"]} keeps capabilities'


def root_is_read_only(objects):
    for o, _, c in parts(objects):
        if c.get('securityContext', {}).get('readOnlyRootFilesystem') is not True:
            yield f'{named(o)}: {c["name"]} may write to its image'


def nothing_of_the_host(objects):
    for o, t in every(objects):
        s = t['spec']
        if any(s.get(k) for k in ('hostNetwork', 'hostPID', 'hostIPC')) or any('hostPath' in v for v in s.get('volumes', [])) or any('hostPort' in p for c in s['containers'] for p in c.get('ports', [])):
            yield f"{named(o)}: it uses the node's own network, processes, paths or ports"


def has_limits(objects):
    for o, _, c in parts(objects):
        r = c.get('resources', {})
        if any(unit not in r.get(side, {}) for side in ('requests', 'limits') for unit in ('cpu', 'memory')):
            yield f'{named(o)}: {c["name"]} lacks a request or a limit'


def has_probes(objects):
    for o, _, c in containers(objects):
        if 'readinessProbe' not in c or 'livenessProbe' not in c:
            yield f'{named(o)}: {c["name"]} lacks a probe'


def no_secret_in_env(objects):
    for o, _, c in parts(objects):
        for e in c.get('env', []):
            if re.search(r'PASSWORD|SECRET|TOKEN|API_?KEY', e['name'], re.I) and 'value' in e and not e['name'].endswith('_FILE'):
                yield f"{named(o)}: {e['name']} is in the manifest"


def no_secret_object(objects):
    for s in kind(objects, 'Secret'):
        yield f'{named(s)}: a Secret in plain text'


def spreads_over_zones(objects):
    for o, t in pods(objects):
        if o['kind'] != 'DaemonSet' and not any(c['topologyKey'] == 'topology.kubernetes.io/zone' for c in t['spec'].get('topologySpreadConstraints', [])):
            yield f'{named(o)}: not spread over zones'


def has_priority(objects):
    classes = {p['metadata']['name'] for p in kind(objects, 'PriorityClass')}
    for o, t in pods(objects):
        if t['spec'].get('priorityClassName') not in classes:
            yield f'{named(o)}: no priority class'


def certificates_rotate(objects):
    for c in kind(objects, 'Certificate'):
        if not c['spec'].get('isCA') and c['spec']['privateKey'].get('rotationPolicy') != 'Always':
            yield f'{named(c)}: its key is never renewed'


def image_is_not_pulled_at_every_start(objects):
    for o, _, c in parts(objects):
        if c.get('imagePullPolicy') != 'IfNotPresent':
            yield f'{named(o)}: a site without a line would not start {c["name"]} again'


# ---- for each rule a render and a fault in it that the rule, and no rule that has nothing to do with it, finds

def _first(objects, what, name):
    return next(o for o in objects if o['kind'] == what and o['metadata']['name'] == name)


def _audit(objects):
    return _first(objects, 'Deployment', 'audit')


def _spec(objects):
    return _audit(objects)['spec']['template']['spec']


def _container(objects):
    return _spec(objects)['containers'][0]


def _drop(objects, what, name):
    objects.remove(_first(objects, what, name))


PROOFS = [
    (selector_matches_template, 'base', lambda o: _audit(o)['spec']['selector']['matchLabels'].update({APP: 'adit'})),
    (service_has_pods_and_ports, 'base', lambda o: _first(o, 'Service', 'audit')['spec']['ports'][0].update(targetPort='webb')),
    (probe_port_exists, 'base', lambda o: _first(o, 'DaemonSet', 'otel-collector')['spec']['template']['spec']['containers'][0]['livenessProbe']['httpGet'].update(port='helth')),
    (config_map_exists, 'base', lambda o: _first(o, 'ConfigMap', 'site')['data'].clear()),
    (secret_is_known, 'base', lambda o: _drop(o, 'Certificate', 'audit-tls')),
    (service_account_exists, 'base', lambda o: _spec(o).pop('automountServiceAccountToken')),
    (disruption_budget_fits, 'base', lambda o: _first(o, 'PodDisruptionBudget', 'audit')['spec'].update(minAvailable=1)),
    (every_workload_has_a_budget, 'base', lambda o: _drop(o, 'PodDisruptionBudget', 'audit')),
    (volume_claim_exists, 'base', lambda o: _drop(o, 'PersistentVolumeClaim', 'audit-data')),
    (volume_mount_exists, 'base', lambda o: _container(o)['volumeMounts'][0].update(name='tsl')),
    (storage_class_exists, 'overlays/stage', lambda o: _drop(o, 'StorageClass', 'yizhan-longhorn')),
    (ingress_backend_exists, 'overlays/stage', lambda o: _first(o, 'IngressRoute', 'console')['spec']['routes'][0]['services'][0].update(port='wep')),
    (rollout_fits, 'overlays/stage', lambda o: _first(o, 'Rollout', 'ai-infer')['spec']['strategy']['canary']['steps'][0].update(setWeight=20)),
    (single_writer_is_no_canary, 'base', lambda o: _audit(o)['spec'].update(replicas=2)),
    (cron_job_is_bounded, 'base', lambda o: _first(o, 'CronJob', 'drill-outage')['spec'].update(concurrencyPolicy='Allow')),
    (no_data_is_no_success, 'overlays/stage', lambda o: _first(o, 'AnalysisTemplate', 'errors')['spec']['metrics'][0].update(successCondition='result[0] <= 0.01')),
    (default_deny, 'base', lambda o: o.remove(next(p for p in kind(o, 'NetworkPolicy') if key(p) == ('data', 'default-deny')))),
    (policies_are_the_flows, 'base', lambda o: _first(o, 'NetworkPolicy', 'audit')['spec']['ingress'][0]['from'].append({'ipBlock': {'cidr': '0.0.0.0/0'}})),
    (declared_port_is_listened_on, 'base', lambda o: next(e for e in _container(o)['env'] if e['name'] == 'YIZHAN_web__url').update(value='http://127.0.0.1:8080')),
    (service_tls_files_are_there, 'base', lambda o: _first(o, 'ConfigMap', 'flows')['data'].update({'flows.yaml': 'flows: []'})),
    (caller_has_an_identity, 'base', lambda o: _drop(o, 'Certificate', 'ingress-tls')),
    (ingress_shows_a_certificate, 'overlays/stage', lambda o: _first(o, 'IngressRoute', 'console')['spec']['routes'][0]['services'][0].pop('serversTransport')),
    (quota_holds, 'base', lambda o: _container(o)['resources']['requests'].update(cpu='40')),
    (namespace_is_known, 'base', lambda o: _first(o, 'PodDisruptionBudget', 'audit')['metadata'].update(namespace='platfrom')),
    (image_is_locked, 'base', lambda o: _container(o).update(image='registry.example/yizhan/audit:latest')),
    (site_has_nothing_of_the_centre, 'overlays/edge', lambda o: _first(o, 'Deployment', 'orthanc')['metadata']['labels'].update({'yizhan.io/runs-at': 'centre'})),
    (runs_without_root, 'base', lambda o: _spec(o)['securityContext'].pop('runAsNonRoot')),
    (seccomp_is_on, 'base', lambda o: _spec(o)['securityContext'].pop('seccompProfile')),
    (no_escalation, 'base', lambda o: _container(o)['securityContext'].update(allowPrivilegeEscalation=True)),
    (no_capabilities, 'base', lambda o: _container(o)['securityContext']['capabilities'].update(add=['NET_ADMIN'])),
    (root_is_read_only, 'base', lambda o: _container(o)['securityContext'].pop('readOnlyRootFilesystem')),
    (nothing_of_the_host, 'base', lambda o: _spec(o).update(hostNetwork=True)),
    (has_limits, 'base', lambda o: _container(o)['resources']['limits'].pop('memory')),
    (has_probes, 'base', lambda o: _container(o).pop('livenessProbe')),
    (no_secret_in_env, 'base', lambda o: _container(o)['env'].append({'name': 'DB_PASSWORD', 'value': 'x'})),
    (no_secret_object, 'base', lambda o: o.append({'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 's', 'namespace': 'data'}})),
    (spreads_over_zones, 'base', lambda o: _spec(o).pop('topologySpreadConstraints')),
    (has_priority, 'base', lambda o: _spec(o).update(priorityClassName='high')),
    (certificates_rotate, 'base', lambda o: _first(o, 'Certificate', 'audit-tls')['spec']['privateKey'].update(rotationPolicy='Never')),
    (image_is_not_pulled_at_every_start, 'base', lambda o: _container(o).update(imagePullPolicy='Always')),
]
