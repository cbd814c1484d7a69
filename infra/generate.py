#!/usr/bin/env python3
"""Writes infra/k8s/base, the NetworkPolicies and the workloads of a site from services.yaml, flows.yaml and images.lock.

`generate.py` writes; `generate.py --check` says what differs from the files in the tree and ends with 1. One workload is one file.
"""
import argparse
import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import yaml

INFRA = Path(__file__).resolve().parent
HEAD = '# Written by infra/generate.py from infra/services.yaml, infra/flows.yaml and infra/images.lock.\n'
OWN_USER = 10001
# What is outside of the workloads, as network policies see it.
PEERS = {
    'ingress': {'namespaceSelector': {'matchLabels': {'yizhan.io/role': 'ingress'}}},
    'prometheus': {'namespaceSelector': {'matchLabels': {'kubernetes.io/metadata.name': 'observability'}}, 'podSelector': {'matchLabels': {'app.kubernetes.io/name': 'prometheus'}}},
}
PEERS['tempo'] = {'namespaceSelector': {'matchLabels': {'kubernetes.io/metadata.name': 'observability'}}, 'podSelector': {'matchLabels': {'app.kubernetes.io/name': 'tempo'}}}
NAMESPACES = {  # name: Pod Security that is enforced, cpu and memory of the quota
    'platform': ('restricted', 16, '24Gi'), 'data': ('restricted', 8, '16Gi'), 'edge': ('baseline', 6, '8Gi'),
    'observability': ('restricted', 4, '8Gi'), 'observability-node': ('privileged', 2, '2Gi')}


def load():
    read = lambda name: yaml.safe_load((INFRA / name).read_text())
    return read('services.yaml'), read('flows.yaml')['flows'], read('images.lock')


def image_of(name, lock):
    if (other := lock['images'].get(name)) is None:
        return f"{lock['ours']}/{name}:{lock['version']}"
    return f"{other['image']}:{other['tag']}" + (f"@{other['digest']}" if 'digest' in other else '')


def labels(name, at='centre'):
    return {'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': 'yizhan', 'yizhan.io/runs-at': at}


def meta(name, namespace, at='centre', app=None):
    return {'name': name, 'namespace': namespace, 'labels': labels(app or name, at)}


def container_security(user):
    return {'allowPrivilegeEscalation': False, 'readOnlyRootFilesystem': True, 'capabilities': {'drop': ['ALL']}}


def pod_security(user):
    return {'runAsNonRoot': True, 'runAsUser': user, 'runAsGroup': user, 'fsGroup': user, 'seccompProfile': {'type': 'RuntimeDefault'}}


def pod(name, spec, lock, at):
    """Pod template of one of our services or of a third party's."""
    ours = 'folder' in spec
    user = spec.get('user', OWN_USER)
    env, mounts, volumes = [], [], []
    if ours:
        env = [{'name': 'YIZHAN_node__dataFolder', 'value': '/data'}, {'name': 'YIZHAN_log__format', 'value': 'json'},
               {'name': 'YIZHAN_node__siteId', 'valueFrom': {'configMapKeyRef': {'name': 'site', 'key': 'siteId'}}},
               *({'name': key, 'value': value} for key, value in service_tls(spec['ports']['web']).items())]
        if spec.get('replicas', 1) > 1:
            # One that is replaced answers until nobody sends it anything any more.
            env.append({'name': 'YIZHAN_web__drainSeconds', 'value': '10'})
        goes = {flow['to'] for flow in load()[1] if flow['from'] == name}
        if 'otel-collector' in goes:
            env.append({'name': 'YIZHAN_telemetry__otlpUrl', 'value': 'http://otel-collector.observability.svc:4318'})
        if 'auth' in goes:
            # Tokens that people sign in for count here: their issuer is what browsers see, its keys are asked for inside.
            env += [{'name': 'YIZHAN_identity__issuers__0__url', 'valueFrom': {'configMapKeyRef': {'name': 'site', 'key': 'issuer'}}},
                    {'name': 'YIZHAN_identity__issuers__0__keysUrl', 'value': f"https://auth.platform.svc:{load()[0]['deployments']['auth']['ports']['web']}/auth/.well-known/jwks"},
                    {'name': 'YIZHAN_identity__issuers__0__service', 'value': 'auth'}]
        if spec.get('log') == 'shares':
            # At the centre fleet owns the log, at a site the station does: the place's ConfigMap says where.
            env += [{'name': 'YIZHAN_storage__store', 'value': 'remote'},
                    *({'name': key, 'valueFrom': {'configMapKeyRef': {'name': 'site', 'key': of}}} for key, of in [('YIZHAN_storage__remoteUrl', 'logUrl'), ('YIZHAN_storage__remoteService', 'logService')])]
        mounts += [{'name': 'tls', 'mountPath': '/etc/yizhan/pki', 'readOnly': True}, {'name': 'root', 'mountPath': '/etc/yizhan/root', 'readOnly': True},
                   {'name': 'flows', 'mountPath': '/etc/yizhan/flows', 'readOnly': True}]
        volumes += [{'name': 'tls', 'secret': {'secretName': f'{name}-tls', 'defaultMode': 0o440}}, {'name': 'root', 'configMap': {'name': 'yizhan-root'}},
                    {'name': 'flows', 'configMap': {'name': 'flows'}}]
    env += [{'name': key, 'valueFrom': {'configMapKeyRef': {'name': 'site', 'key': of}}} for key, of in spec.get('siteEnv', {}).items()]
    env += [{'name': key, 'value': str(value)} for key, value in spec.get('env', {}).items()]
    if secret := spec.get('secret'):
        mounts.append({'name': 'secret', 'mountPath': '/run/secrets/app', 'readOnly': True})
        volumes.append({'name': 'secret', 'secret': {'secretName': secret['name'], 'defaultMode': 0o440, 'items': [{'key': key, 'path': key} for key in secret['keys']]}})
    if spec.get('config'):
        mounts.append({'name': 'config', 'mountPath': spec['config']['mount'], 'readOnly': True})
        volumes.append({'name': 'config', 'configMap': {'name': spec['config']['name']}})
    mounts.append({'name': 'data', 'mountPath': spec.get('mount', '/data')})
    for number, path in enumerate(spec.get('scratch', ['/tmp'])):
        mounts.append({'name': f'scratch-{number}', 'mountPath': path})
        volumes.append({'name': f'scratch-{number}', 'emptyDir': {'sizeLimit': '256Mi'}})
    if not spec.get('disk'):
        volumes.append({'name': 'data', 'emptyDir': {'sizeLimit': '2Gi'}})
    elif ours or spec.get('single'):
        volumes.append({'name': 'data', 'persistentVolumeClaim': {'claimName': f'{name}-data'}})
    # The web listener of ours is on the loopback, so it is the binary that asks it.
    test = ({'exec': {'command': ['/app/yizhan', '--healthcheck']}} if ours
            else {'exec': {'command': spec['probe']}} if 'probe' in spec
            else {'httpGet': {'path': spec['http'], 'port': next(iter(spec['ports']))}} if 'http' in spec
            else {'tcpSocket': {'port': next(iter(spec['ports']))}})
    first = {
        'name': name, 'image': image_of(spec.get('image', name), lock), 'imagePullPolicy': 'IfNotPresent',
        **({'args': spec['args']} if 'args' in spec else {}),
        'ports': [{'name': port, 'containerPort': number} for port, number in spec['ports'].items()],
        'env': env,
        'resources': {'requests': {'cpu': spec['cpu'], 'memory': spec['memory'], 'ephemeral-storage': '256Mi'}, 'limits': {'cpu': spec.get('cpuLimit', '2'), 'memory': spec['memory'], 'ephemeral-storage': '4Gi'}},
        'startupProbe': {**test, 'periodSeconds': 5, 'failureThreshold': 60, 'timeoutSeconds': 5},
        'readinessProbe': {**test, 'periodSeconds': 10, 'timeoutSeconds': 5},
        'livenessProbe': {**test, 'periodSeconds': 20, 'failureThreshold': 6, 'timeoutSeconds': 5},
        'securityContext': container_security(user), 'volumeMounts': mounts}
    if not first['env']:
        del first['env']
    return {'metadata': {'labels': labels(name, at)}, 'spec': {
        'serviceAccountName': name, 'automountServiceAccountToken': False, 'enableServiceLinks': False,
        'priorityClassName': 'yizhan-clinical' if name in ('pacs-gw', 'fleet', 'station', 'audit', 'postgres', 'redpanda', 'minio') else 'yizhan-service',
        'terminationGracePeriodSeconds': 60, 'securityContext': pod_security(user),
        'topologySpreadConstraints': [{'maxSkew': 1, 'topologyKey': 'topology.kubernetes.io/zone', 'whenUnsatisfiable': 'ScheduleAnyway', 'labelSelector': {'matchLabels': {'app.kubernetes.io/name': name}}}],
        'containers': [first], 'volumes': volumes}}


def service_tls(port):
    """What a service of ours needs to be reached by others: its second listener, and who it and they are."""
    return {'YIZHAN_web__url': f'http://127.0.0.1:8080;https://0.0.0.0:{port}', 'YIZHAN_service-tls__certificatePath': '/etc/yizhan/pki/tls.crt',
            'YIZHAN_service-tls__keyPath': '/etc/yizhan/pki/tls.key', 'YIZHAN_service-tls__rootPath': '/etc/yizhan/root/root.crt', 'YIZHAN_service-tls__flowsPath': '/etc/yizhan/flows/flows.yaml'}


def certificate(name, namespace, at, app=None, hosts=()):
    """Who a service is, at both ends of a connection: the SPIFFE id counts, the names are for those who look at names."""
    return {'apiVersion': 'cert-manager.io/v1', 'kind': 'Certificate', 'metadata': meta(f'{name}-tls', namespace, at, app or name), 'spec': {
        'secretName': f'{name}-tls', 'duration': '720h', 'renewBefore': '240h', 'privateKey': {'algorithm': 'ECDSA', 'size': 256, 'rotationPolicy': 'Always'},
        'usages': ['digital signature', 'server auth', 'client auth'], 'dnsNames': [name, f'{name}.{namespace}.svc', *hosts],
        'uris': [f'spiffe://yizhan/{namespace}/{name}'], 'issuerRef': {'name': 'yizhan-services', 'kind': 'ClusterIssuer', 'group': 'cert-manager.io'}}}


def flow_list(namespace):
    """What the listeners themselves go by: the file out of which the policies are made."""
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': meta('flows', namespace, 'both'), 'data': {'flows.yaml': (INFRA / 'flows.yaml').read_text()}}


def monitors(services, flows):
    """One for each service, since the name in its certificate is looked at; metrics are on the web port."""
    monitor = lambda name, namespace, endpoint: {'apiVersion': 'monitoring.coreos.com/v1', 'kind': 'ServiceMonitor', 'metadata': {'name': name, 'namespace': 'observability'}, 'spec': {
        'namespaceSelector': {'matchNames': [namespace]}, 'selector': {'matchLabels': {'app.kubernetes.io/name': name}}, 'jobLabel': 'app.kubernetes.io/name', 'endpoints': [endpoint]}}
    asked = [flow['to'] for flow in flows if flow['from'] == 'prometheus' and flow['to'] in services['deployments']]
    return [monitor(name, 'platform', {'port': 'web', 'scheme': 'https', 'path': '/metrics', 'interval': '30s', 'scrapeTimeout': '10s', 'tlsConfig': {
        'ca': {'configMap': {'name': 'yizhan-root', 'key': 'root.crt'}}, 'cert': {'secret': {'name': 'prometheus-tls', 'key': 'tls.crt'}},
        'keySecret': {'name': 'prometheus-tls', 'key': 'tls.key'}, 'serverName': f'{name}.platform.svc'}}) for name in asked] + [
        monitor('redpanda', 'data', {'port': 'admin', 'path': '/public_metrics', 'interval': '30s'})]


def claim(name, namespace, size, at):
    return {'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': meta(f'{name}-data', namespace, at, name),
            'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': size}}}}


def service(name, namespace, spec, at, **extra):
    return {'apiVersion': 'v1', 'kind': 'Service', 'metadata': meta(name, namespace, at), 'spec': {
        'selector': {'app.kubernetes.io/name': name}, 'ports': [{'name': port, 'port': number, 'targetPort': port} for port, number in spec['ports'].items()], **extra}}


def workload(kind, name, namespace, spec, lock, at='centre', **service_extra):
    """A service account, the workload, its service, its disruption budget, its disk and its certificate."""
    replicas = spec.get('replicas', 1)
    body = {'selector': {'matchLabels': {'app.kubernetes.io/name': name}}, 'replicas': replicas, 'revisionHistoryLimit': 5, 'template': pod(name, spec, lock, at)}
    objects = [{'apiVersion': 'v1', 'kind': 'ServiceAccount', 'metadata': meta(name, namespace, at), 'automountServiceAccountToken': False}]
    if kind == 'StatefulSet':
        service_extra['clusterIP'] = 'None'
        service_extra['publishNotReadyAddresses'] = True
        body |= {'serviceName': name, 'podManagementPolicy': 'Parallel' if replicas > 1 else 'OrderedReady', 'volumeClaimTemplates': [
            {'metadata': {'name': 'data'}, 'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': spec['disk']}}}}]}
    else:
        # A service that owns a disk is its only writer: the old one ends before the new one starts.
        body['strategy'] = {'type': 'Recreate'} if spec.get('disk') else {'type': 'RollingUpdate', 'rollingUpdate': {'maxUnavailable': 0, 'maxSurge': 1}}
    objects.append({'apiVersion': 'apps/v1', 'kind': kind, 'metadata': meta(name, namespace, at), 'spec': body})
    objects.append(service(name, namespace, spec, at, **service_extra))
    # maxUnavailable, since minAvailable 1 of 1 would stop every drain of a node.
    objects.append({'apiVersion': 'policy/v1', 'kind': 'PodDisruptionBudget', 'metadata': meta(name, namespace, at),
                    'spec': {'maxUnavailable': 1, 'selector': {'matchLabels': {'app.kubernetes.io/name': name}}}})
    if kind == 'Deployment' and spec.get('disk'):
        objects.append(claim(name, namespace, spec['disk'], at))
    if 'folder' in spec:
        objects.append(certificate(name, namespace, at))
    return objects


def namespaces():
    objects = [{'apiVersion': 'scheduling.k8s.io/v1', 'kind': 'PriorityClass', 'metadata': {'name': name, 'labels': {'yizhan.io/runs-at': 'both'}}, 'value': value, 'description': why}
               for name, value, why in [('yizhan-clinical', 1000000, 'What acknowledges: without it a study is refused.'), ('yizhan-service', 100000, 'What works on what was acknowledged.')]]
    for name, (security, cpu, memory) in NAMESPACES.items():
        at = 'both' if name != 'data' else 'centre'
        objects.append({'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': name, 'labels': {
            'yizhan.io/runs-at': at, 'yizhan.io/trust': 'root', 'pod-security.kubernetes.io/enforce': security, 'pod-security.kubernetes.io/warn': 'restricted' if security != 'privileged' else 'privileged'}}})
        objects.append({'apiVersion': 'v1', 'kind': 'ResourceQuota', 'metadata': meta('quota', name, at, name), 'spec': {'hard': {
            'requests.cpu': str(cpu), 'requests.memory': memory, 'limits.cpu': str(cpu * 4), 'limits.memory': memory, 'pods': '60'}}})
        objects.append({'apiVersion': 'v1', 'kind': 'LimitRange', 'metadata': meta('defaults', name, at, name), 'spec': {'limits': [
            {'type': 'Container', 'default': {'cpu': '500m', 'memory': '256Mi'}, 'defaultRequest': {'cpu': '50m', 'memory': '64Mi'}}]}})
    return objects


def pki():
    """The private root and what is below it. The root's key stays in one Secret of cert-manager's namespace; a site has its own intermediate."""
    issuer = lambda name, spec: {'apiVersion': 'cert-manager.io/v1', 'kind': 'ClusterIssuer', 'metadata': {'name': name, 'labels': {'yizhan.io/runs-at': 'both'}}, 'spec': spec}
    authority = lambda name, of, duration: {'apiVersion': 'cert-manager.io/v1', 'kind': 'Certificate', 'metadata': {'name': name, 'namespace': 'cert-manager', 'labels': {'yizhan.io/runs-at': 'both'}}, 'spec': {
        'isCA': True, 'commonName': name, 'secretName': name, 'duration': duration, 'renewBefore': '720h', 'privateKey': {'algorithm': 'ECDSA', 'size': 256, 'rotationPolicy': 'Never'},
        'usages': ['cert sign', 'crl sign'], 'issuerRef': {'name': of, 'kind': 'ClusterIssuer', 'group': 'cert-manager.io'}}}
    return [issuer('yizhan-self-signed', {'selfSigned': {}}), authority('yizhan-root', 'yizhan-self-signed', '87600h'),
            issuer('yizhan-root', {'ca': {'secretName': 'yizhan-root'}}), authority('yizhan-services', 'yizhan-root', '8760h'),
            issuer('yizhan-services', {'ca': {'secretName': 'yizhan-services'}}),
            {'apiVersion': 'trust.cert-manager.io/v1alpha1', 'kind': 'Bundle', 'metadata': {'name': 'yizhan-root', 'labels': {'yizhan.io/runs-at': 'both'}}, 'spec': {
                'sources': [{'secret': {'name': 'yizhan-root', 'key': 'ca.crt'}}], 'target': {'configMap': {'key': 'root.crt'}, 'namespaceSelector': {'matchLabels': {'yizhan.io/trust': 'root'}}}}}]


def policies(flows, places, at_site):
    """Default deny everywhere, then one rule at each end of each flow. `places` has namespace, ports and place of each workload."""
    objects = []
    for namespace in NAMESPACES:
        at = 'centre' if namespace == 'data' else 'both'
        objects.append({'apiVersion': 'networking.k8s.io/v1', 'kind': 'NetworkPolicy', 'metadata': meta('default-deny', namespace, at, namespace), 'spec': {'podSelector': {}, 'policyTypes': ['Ingress', 'Egress']}})
        objects.append({'apiVersion': 'networking.k8s.io/v1', 'kind': 'NetworkPolicy', 'metadata': meta('allow-dns', namespace, at, namespace), 'spec': {
            'podSelector': {}, 'policyTypes': ['Egress'], 'egress': [{'to': [{'namespaceSelector': {'matchLabels': {'kubernetes.io/metadata.name': 'kube-system'}}, 'podSelector': {'matchLabels': {'k8s-app': 'kube-dns'}}}],
                                                                      'ports': [{'protocol': 'UDP', 'port': 53}, {'protocol': 'TCP', 'port': 53}]}]}})

    def peer(name):
        if name == 'outside':
            return [{'ipBlock': {'cidr': '0.0.0.0/0'}}]
        if name in PEERS:
            return [PEERS[name]]
        return [{'namespaceSelector': {'matchLabels': {'kubernetes.io/metadata.name': places[name]['namespace']}}, 'podSelector': {'matchLabels': {'app.kubernetes.io/name': name}}}]

    # A flow is where both of its ends are.
    present = lambda name: name == 'outside' or name in PEERS or (name in places and (places[name]['at'] == 'both' or (places[name]['at'] == 'site') == at_site))
    port = lambda flow: [{'protocol': 'TCP', 'port': flow['port'] if flow['to'] in ('outside', *PEERS) else places[flow['to']]['ports'][flow['port']]}]
    for name, place in places.items():
        if (place['at'] == 'site') != at_site:
            continue
        comes = [{'from': peer(f['from']), 'ports': port(f)} for f in flows if f['to'] == name and (present(f['from']) or place['at'] == 'both')]
        goes = [{'to': peer(f['to']), 'ports': port(f)} for f in flows if f['from'] == name and (present(f['to']) or place['at'] == 'both')]
        objects.append({'apiVersion': 'networking.k8s.io/v1', 'kind': 'NetworkPolicy', 'metadata': meta(name, place['namespace'], place['at'] if place['at'] != 'site' else 'both'), 'spec': {
            'podSelector': {'matchLabels': {'app.kubernetes.io/name': name}}, 'policyTypes': ['Ingress', 'Egress'], **({'ingress': comes} if comes else {}), **({'egress': goes} if goes else {})}})
    return objects


COLLECTOR = {'ports': {'otlp': 4318}, 'cpu': '100m', 'memory': '256Mi', 'cpuLimit': '500m', 'http': '/', 'args': ['--config=/etc/otelcol/config.yaml'], 'config': {'name': 'otel-collector', 'mount': '/etc/otelcol'}}
COLLECTOR_CONFIG = """receivers:
  otlp: {protocols: {http: {endpoint: 0.0.0.0:4318}}}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 200}
  batch: {}
extensions:
  health_check: {endpoint: 0.0.0.0:13133}
exporters:
  otlphttp: {endpoint: "http://tempo.observability.svc:4318"}
service:
  extensions: [health_check]
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlphttp]}
"""
# The link's certificate is of the centre's own authority (fleet), not of the cluster: bootstrap.sh brings it.
STATION = {'folder': 'host', 'image': 'host', 'args': ['edge'], 'ports': {'web': 8081, 'dicom': 11112, 'mqtt': 8883}, 'cpu': '1', 'memory': '1Gi', 'disk': '200Gi',
           'siteEnv': {'YIZHAN_station__centreUrl': 'centreUrl'}, 'secret': {'name': 'station-link', 'keys': ['site.crt', 'site.key', 'root.crt']},
           'env': {'YIZHAN_station__certificatePath': '/run/secrets/app/site.crt', 'YIZHAN_station__keyPath': '/run/secrets/app/site.key',
                   'YIZHAN_station__rootPath': '/run/secrets/app/root.crt', 'YIZHAN_pacs-gw__dicomAddress': '0.0.0.0', 'YIZHAN_pacs-gw__evictAbovePercent': 80,
                   # Devices have certificates of the same authority as the link.
                   'YIZHAN_mqtt-bridge__address': '0.0.0.0', 'YIZHAN_mqtt-bridge__port': 8883, 'YIZHAN_mqtt-bridge__certificatePath': '/etc/yizhan/pki/tls.crt',
                   'YIZHAN_mqtt-bridge__keyPath': '/etc/yizhan/pki/tls.key', 'YIZHAN_mqtt-bridge__rootPath': '/run/secrets/app/root.crt'}}
ORTHANC = {'ports': {'http': 8042, 'dicom': 4242}, 'cpu': '500m', 'memory': '1Gi', 'disk': '100Gi', 'single': True, 'mount': '/var/lib/orthanc/db', 'user': 1000, 'scratch': ['/tmp'],
           'secret': {'name': 'orthanc', 'keys': ['orthanc.json']}, 'env': {'ORTHANC__DICOM_AET': 'ORTHANC', 'DICOM_UID_ROOT': '1.2.826.0.1.3680043.10'}}


def collector(lock):
    objects = [o for o in workload('Deployment', 'otel-collector', 'observability', COLLECTOR, lock, at='both') if o['kind'] != 'PodDisruptionBudget']
    daemon = next(o for o in objects if o['kind'] == 'Deployment')
    daemon['kind'] = 'DaemonSet'
    for key in ('replicas', 'strategy'):
        del daemon['spec'][key]
    daemon['spec']['updateStrategy'] = {'type': 'RollingUpdate', 'rollingUpdate': {'maxUnavailable': 1}}
    spec = daemon['spec']['template']['spec']
    del spec['topologySpreadConstraints']
    first = spec['containers'][0]
    first['ports'].append({'name': 'health', 'containerPort': 13133})
    for probe in ('startupProbe', 'readinessProbe', 'livenessProbe'):
        first[probe]['httpGet']['port'] = 'health'
    service_of = next(o for o in objects if o['kind'] == 'Service')
    service_of['spec']['internalTrafficPolicy'] = 'Local'
    return objects + [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': meta('otel-collector', 'observability', 'both'), 'data': {'config.yaml': COLLECTOR_CONFIG}}]


def topics_script():
    """What compose and Kubernetes run once: it may run again, and changes what is declared otherwise by now. Partitions are added by hand (infra/topics.yaml says why)."""
    lines = ['#!/bin/sh', '# Written by infra/generate.py from infra/topics.yaml. Brokers are in RPK_BROKERS.', 'set -eu']
    for name, topic in yaml.safe_load((INFRA / 'topics.yaml').read_text())['topics'].items():
        # `create` fails where the topic is there already; where it is not there after that, `alter-config` fails.
        lines.append(f"rpk topic create {name} --partitions {topic['partitions']} --replicas -1 || true")
        lines.append(f'rpk topic alter-config {name} ' + ' '.join(f'--set {key}={value}' for key, value in topic['config'].items()))
    return '\n'.join(lines) + '\n'


def topics(spec, lock):
    """A Job whose name has the script's digest: a Job cannot be changed, and a changed script is another one."""
    script, name = topics_script(), 'redpanda-topics'
    security = spec.get('user', OWN_USER)
    job = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {**meta(name, 'data'), 'name': f'{name}-{hashlib.sha256(script.encode()).hexdigest()[:8]}'}, 'spec': {
        'backoffLimit': 20, 'ttlSecondsAfterFinished': 86400, 'template': {'metadata': {'labels': labels(name)}, 'spec': {
            'serviceAccountName': name, 'automountServiceAccountToken': False, 'enableServiceLinks': False, 'restartPolicy': 'OnFailure', 'securityContext': pod_security(security),
            'containers': [{
                'name': name, 'image': image_of('redpanda', lock), 'imagePullPolicy': 'IfNotPresent', 'command': ['sh', '/etc/topics/topics.sh'],
                'env': [{'name': 'RPK_BROKERS', 'value': f"redpanda.data.svc:{spec['ports']['kafka']}"}, {'name': 'HOME', 'value': '/tmp'}],
                'resources': {'requests': {'cpu': '50m', 'memory': '128Mi', 'ephemeral-storage': '64Mi'}, 'limits': {'cpu': '500m', 'memory': '128Mi', 'ephemeral-storage': '256Mi'}},
                'securityContext': container_security(security),
                'volumeMounts': [{'name': 'topics', 'mountPath': '/etc/topics', 'readOnly': True}, {'name': 'tmp', 'mountPath': '/tmp'}]}],
            'volumes': [{'name': 'topics', 'configMap': {'name': name}}, {'name': 'tmp', 'emptyDir': {'sizeLimit': '64Mi'}}]}}}}
    return [{'apiVersion': 'v1', 'kind': 'ServiceAccount', 'metadata': meta(name, 'data'), 'automountServiceAccountToken': False},
            {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': meta(name, 'data'), 'data': {'topics.sh': script}}, job]


# What runs at a time, with the command `yizhan` (image cli). A drill has nodes of its own in its pod and calls nobody; its report stays on its disk, and a failed one is a failed Job.
DRILLS = ('outage', 'power-cut', 'zone-loss', 'ransomware', 'model-anomaly', 'bad-release')
BACKUP = ['database', 'backup', '--connection-file', '/run/secrets/app/connection', '--data', '/data', '--work', '/work', '--s3-url', '$(S3_URL)', '--s3-bucket', '$(S3_BUCKET)',
          '--s3-credentials-file', '/run/secrets/app/s3.credentials', '--json']


def cron(name, app, schedule, args, lock, memory, seconds, claim, volumes=(), env=(), affinity=None):
    """One at a time, at the start that was missed if it is not too late, and not again and again."""
    mounts = [{'name': 'data', 'mountPath': '/data'}, {'name': 'tmp', 'mountPath': '/tmp'}, *({'name': v['name'], 'mountPath': path, **({'readOnly': True} if 'secret' in v else {})} for v, path in volumes)]
    return {'apiVersion': 'batch/v1', 'kind': 'CronJob', 'metadata': meta(name, 'platform', app=app), 'spec': {
        'schedule': schedule, 'timeZone': 'Etc/UTC', 'concurrencyPolicy': 'Forbid', 'startingDeadlineSeconds': 43200, 'successfulJobsHistoryLimit': 4, 'failedJobsHistoryLimit': 4,
        'jobTemplate': {'spec': {'backoffLimit': 1, 'activeDeadlineSeconds': seconds, 'template': {'metadata': {'labels': labels(app)}, 'spec': {
            'serviceAccountName': app, 'automountServiceAccountToken': False, 'enableServiceLinks': False, 'restartPolicy': 'Never', 'priorityClassName': 'yizhan-service',
            'securityContext': pod_security(OWN_USER), **({'affinity': affinity} if affinity else {}),
            'containers': [{
                'name': app, 'image': image_of('cli', lock), 'imagePullPolicy': 'IfNotPresent', 'args': args, 'env': [{'name': 'HOME', 'value': '/tmp'}, *env],
                'resources': {'requests': {'cpu': '250m', 'memory': memory, 'ephemeral-storage': '1Gi'}, 'limits': {'cpu': '2', 'memory': memory, 'ephemeral-storage': '4Gi'}},
                'securityContext': container_security(OWN_USER), 'volumeMounts': mounts}],
            'volumes': [{'name': 'data', 'persistentVolumeClaim': {'claimName': claim}}, {'name': 'tmp', 'emptyDir': {'sizeLimit': '2Gi'}}, *(v for v, _ in volumes)]}}}}}}


def account(name):
    return {'apiVersion': 'v1', 'kind': 'ServiceAccount', 'metadata': meta(name, 'platform'), 'automountServiceAccountToken': False}


def drills(lock):
    """Each kind once a quarter, in a night of its own."""
    return [account('drill'), claim('drill', 'platform', '10Gi', 'centre'), *(
        cron(f'drill-{kind}', 'drill', f'0 2 {day} 1,4,7,10 *', ['drill', 'run', kind, '--json', '--report', '/data/reports'], lock, '3Gi', 3600, 'drill-data')
        for day, kind in enumerate(DRILLS, start=2))]


def database_backup(lock):
    """Beside fleet, whose disk one node at a time has: the database, and what fleet keeps in its folder."""
    secret = {'name': 'secret', 'secret': {'secretName': 'backup', 'defaultMode': 0o440, 'items': [{'key': key, 'path': key} for key in ('connection', 's3.credentials')]}}
    beside = {'podAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': [{'topologyKey': 'kubernetes.io/hostname', 'labelSelector': {'matchLabels': {'app.kubernetes.io/name': 'fleet'}}}]}}
    env = [{'name': name, 'valueFrom': {'configMapKeyRef': {'name': 'backup', 'key': of}}} for name, of in (('S3_URL', 's3Url'), ('S3_BUCKET', 's3Bucket'))]
    return [account('backup'), {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': meta('backup', 'platform'), 'data': {'s3Url': 'https://s3.elsewhere.example', 's3Bucket': 'yizhan-wal'}},
            claim('backup', 'platform', '100Gi', 'centre'),
            cron('backup', 'backup', '30 1 * * *', BACKUP, lock, '1Gi', 21600, 'fleet-data', affinity=beside, env=env,
                 volumes=[(secret, '/run/secrets/app'), ({'name': 'work', 'persistentVolumeClaim': {'claimName': 'backup-data'}}, '/work')])]


def site_map(namespace, site):
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': meta('site', namespace, 'both'), 'data': site}


def files():
    """Path below infra -> objects."""
    services, flows, lock = load()
    out, places = {}, {}
    for name, spec in services['deployments'].items():
        places[name] = {'namespace': 'platform', 'ports': spec['ports'], 'at': spec['at']}
        out[f'k8s/base/{name}.yaml'] = workload('Deployment', name, 'platform', spec, lock, spec['at'])
    for name, spec in services['statefulsets'].items():
        places[name] = {'namespace': 'data', 'ports': spec['ports'], 'at': 'centre'}
        out[f'k8s/base/{name}.yaml'] = workload('StatefulSet', name, 'data', spec, lock)
    places['redpanda-topics'] = {'namespace': 'data', 'ports': {}, 'at': 'centre'}
    out['k8s/base/topics.yaml'] = topics(services['statefulsets']['redpanda'], lock)
    places |= {name: {'namespace': 'platform', 'ports': {}, 'at': 'centre'} for name in ('drill', 'backup')}
    out['k8s/base/drills.yaml'] = drills(lock)
    out['k8s/components/database-backup/backup.yaml'] = database_backup(lock)
    places['otel-collector'] = {'namespace': 'observability', 'ports': COLLECTOR['ports'], 'at': 'both'}
    places['station'] = {'namespace': 'edge', 'ports': STATION['ports'], 'at': 'site'}
    places['orthanc'] = {'namespace': 'edge', 'ports': ORTHANC['ports'], 'at': 'site'}
    out['k8s/base/otel-collector.yaml'] = collector(lock)
    out['k8s/base/namespaces.yaml'] = namespaces()
    out['k8s/base/pki.yaml'] = pki()
    out['k8s/base/network-policies.yaml'] = policies(flows, places, at_site=False)
    out['k8s/base/site.yaml'] = [site_map('platform', {
        'siteId': 'centre', 'publicHost': 'yizhan.example', 'issuer': 'https://yizhan.example/auth', 'logUrl': f"https://fleet.platform.svc:{places['fleet']['ports']['web']}", 'logService': 'fleet',
        'archiveUrl': f"https://pacs-gw.platform.svc:{places['pacs-gw']['ports']['web']}/pacs-gw/dicom-web/", 'archiveService': 'pacs-gw'})]
    out['k8s/base/flows.yaml'] = [flow_list('platform')]
    # Those who call and are no workload of ours.
    out['k8s/base/callers.yaml'] = [certificate('ingress', 'platform', 'centre'), certificate('prometheus', 'observability', 'centre')]
    out['k8s/components/service-monitors/monitors.yaml'] = monitors(services, flows)
    out['k8s/base/kustomization.yaml'] = [{'apiVersion': 'kustomize.config.k8s.io/v1beta1', 'kind': 'Kustomization', 'resources': sorted(Path(p).name for p in out if p.startswith('k8s/base/'))}]
    edge = 'k8s/overlays/edge'
    out[f'{edge}/station.yaml'] = workload('Deployment', 'station', 'edge', STATION, lock, 'both', type='LoadBalancer', externalTrafficPolicy='Local')
    out[f'{edge}/orthanc.yaml'] = workload('Deployment', 'orthanc', 'edge', ORTHANC, lock, 'both')
    out[f'{edge}/flows.yaml'] = [flow_list('edge')]
    out[f'{edge}/network-policies.yaml'] = policies(flows, places, at_site=True)[2 * len(NAMESPACES):]
    return out


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def chart():
    """The chart's one template: the rendered site, with values in the ConfigMap in which sites differ."""
    done = subprocess.run(['kubectl', 'kustomize', INFRA / 'k8s/overlays/edge'], capture_output=True, text=True, check=True)
    objects = [o for o in yaml.safe_load_all(done.stdout) if o]
    values = {'siteId': '{{ .Values.siteId }}', 'centreUrl': '{{ .Values.network.centreUrl }}', 'hardwareProfile': '{{ .Values.hardwareProfile }}'}
    for o in objects:
        if o['kind'] == 'ConfigMap' and o['metadata']['name'] == 'site':
            o['data'] = {name: values.get(name, value) for name, value in o['data'].items()}
    return objects


def compose_flows():
    """The flow list and the topics beside the compose file, which may name no file above its folder: it is copied to boxes with it."""
    return {'docker/flows.yaml': '# Written by infra/generate.py from infra/flows.yaml.\n' + (INFRA / 'flows.yaml').read_text(),
            'docker/topics.sh': topics_script()}


def dockerfiles():
    """One for each image, at the folder it is built from: the same but for the name. A folder that is not there yet gets none."""
    template = (INFRA / 'docker/service.Dockerfile').read_text()
    folders = {**{name: spec['folder'] for name, spec in load()[0]['deployments'].items()}, 'host': 'host', 'cli': 'cli'}
    of = lambda name: '\n'.join(line for line in template.split('\n') if name != 'cli' or not line.startswith('HEALTHCHECK'))  # It runs to its end, and answers nobody.
    return {f'../{folder}/Dockerfile': of(name).replace('ARG NAME\n', f'ARG NAME={name}\n').replace('# One Dockerfile', '# Written by infra/generate.py. One Dockerfile') for name, folder in folders.items() if list((INFRA.parent / folder).glob('*.csproj'))}


def text(objects):
    if isinstance(objects, str):
        return objects
    return HEAD + '---\n'.join(yaml.dump(o, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=160, allow_unicode=True) for o in objects)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 when a file differs')
    check = parser.parse_args().check
    differing, number = 0, 0
    for path, objects in itertools.chain(files().items(), dockerfiles().items(), compose_flows().items(), ((path, make()) for path, make in [('helm/yizhan/templates/site.yaml', chart)])):
        number += 1
        file, wanted = INFRA / path, text(objects)
        # A new service gets its Dockerfile with the next run; until then its image is built with the template.
        if check and file.name == 'Dockerfile' and not file.exists():
            continue
        if not file.exists() or file.read_text() != wanted:
            differing += 1
            if check:
                print(f'{file}: differs from what infra/generate.py writes')
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(wanted)
    print(json.dumps({'files': number, 'differing' if check else 'written': differing}))
    return 1 if check and differing else 0


if __name__ == '__main__':
    sys.exit(main())
