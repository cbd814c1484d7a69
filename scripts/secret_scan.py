#!/usr/bin/env python3
"""Looks for secrets, and for traces of somebody's machine, in every file that is or would be in the tree.

A line that must look like a secret says so and why: `scan:allow REASON` on that line. Exit code 1 and FILE:LINE: RULE for each
finding; the value itself is not printed. `secret_scan.py --test` plants a fault for each rule and a look-alike that is none.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

MAX_BYTES = 2 * 1024 * 1024
ALLOW = re.compile(r'scan:allow \S+')
WORDS = r'(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)'
# What stands for a secret: a variable, a placeholder, a template, a path, a sentence, or a name in code.
STANDS_FOR = r'(?![$<{%/.]|ENC\[|\*\*|[xX]+["\'])'

# name, pattern, planted fault, look-alike. The planted ones are put together here so that this file holds none.
RULES = [
    ('private-key', r'-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----', '-----BEGIN ' + 'EC PRIVATE KEY-----', '-----BEGIN PUBLIC KEY-----'),
    ('age-key', r'AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}', 'AGE-SECRET-KEY-1' + 'Q' * 58, 'AGE-SECRET-KEY-1 and 58 characters'),
    ('aws-key', r'\b(?:AKIA|ASIA)[0-9A-Z]{16}\b', 'AKIA' + 'IOSFODNN7EXAMPL0', 'AKIAIO'),
    ('github-token', r'\bgh[pousr]_[A-Za-z0-9]{36}', 'ghp_' + 'a1B2' * 9, 'ghp_short'),
    ('slack-token', r'\bxox[abprs]-[0-9A-Za-z-]{20,}', 'xoxb-' + '1234567890-abcdefghij', 'xoxb-1'),
    ('chat-webhook', r'hooks\.slack\.com/services/T\w+/B\w+/\w{16,}|open\.feishu\.cn/open-apis/bot/v2/hook/[0-9a-f-]{30,}',
     'https://open.feishu.cn/open-apis/bot/v2/hook/' + '0a1b2c3d-' * 4 + '1', 'https://open.feishu.cn/open-apis/bot/v2/hook/$HOOK'),
    ('google-key', r'\bAIza[0-9A-Za-z_-]{35}', 'AIza' + 'Sy0_' * 8 + 'abc', 'AIzaSy'),
    ('package-token', r'\bnpm_[A-Za-z0-9]{36}\b|\boy2[a-z0-9]{43}\b', 'npm_' + 'aB3x' * 9, 'npm_config_cache'),
    ('jwt', r'\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}', 'eyJ' + 'hbGciOiJI' * 2 + '.eyJ' + 'zdWIiOiIx' * 2 + '.' + 'c2lnbmF0dXJl', 'eyJhbGciOiJIUzI1NiJ9'),
    ('wireguard-key', r'\bPrivateKey\s*=\s*[A-Za-z0-9+/]{43}=', 'PrivateKey = ' + 'yAnz' * 10 + 'abc=', 'PrivateKey = $KEY'),
    ('password-in-url', r'\b[a-z][a-z0-9+.-]*://[^/\s:@"\'<>{}$]+:[^/\s:@"\'<>{}$]{3,}@[\w[]', 'postgres://app:' + 'hunter22' + '@db/x', 'https://host:8443/a@b'),
    ('assigned', r'(?i)\b[a-z0-9_-]*' + WORDS + r'[a-z0-9_]*["\']?\s*(?:[:=]|=>)\s*["\']' + STANDS_FOR + r'(?=[^"\']*\d)[^"\'\s$<{]{8,}["\']',
     'dbPassword: "' + 'hunter2hunter2' + '"', 'password: "$DB_PASSWORD"'),
    ('assigned-in-env', r'^(?:export )?[A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_KEY|ACCESS_KEY|PRIVATE_KEY)[A-Z0-9_]*=' + STANDS_FOR + r'["\']?[^\s"\'$<{(]{6,}',
     'POSTGRES_PASSWORD=' + 'hunter22', 'POSTGRES_PASSWORD=${POSTGRES_PASSWORD:?set it in .env}'),
    ('package-host', r'(?:registry|api|deb|security)[.](?:npm|nuget|debian)[.a-z]*|"resolved": *"http', 'https://registry.' + 'npmjs.org/x', 'the registry of npm'),
    ('machine-path', r'(?:^|[^a-zA-Z0-9_.$}/-])/(?:home|root|work|Users)/[\w.]', 'see /home/' + 'somebody/x', 'https://host/home/x'),
]
COMPILED = [(name, re.compile(pattern)) for name, pattern, _, _ in RULES]
# Files that are secrets by what they are.
NAMES = re.compile(r'(^|/)(\.env|id_rsa|id_ecdsa|id_ed25519|[^/]+\.(p12|pfx|jks|keystore))$')


def findings(path: str, data: bytes):
    """Yields (line, rule) for a file."""
    if NAMES.search(path):
        yield 1, 'secret-file'
    if re.search(r'\.sops\.(yaml|yml|json|env)$', path) and not (b'ENC[AES256_GCM,' in data and re.search(rb'\bmac["\s:=]|sops_mac', data)):
        yield 1, 'sops-file-in-plain'
    if b'\0' in data[:8000] or len(data) > MAX_BYTES:
        return
    for number, line in enumerate(data.decode('utf-8', 'replace').split('\n'), 1):
        if len(line) > 20000 or ALLOW.search(line):
            continue
        for name, pattern in COMPILED:
            if pattern.search(line):
                yield number, name


def scan(root: Path) -> int:
    listed = subprocess.run(['git', '-C', root, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], check=True, capture_output=True).stdout
    found = 0
    for path in sorted(set(filter(None, listed.decode().split('\0')))):
        file = root / path
        if file.is_file() and not file.is_symlink():
            for line, rule in findings(path, file.read_bytes()):
                found += 1
                print(f'{path}:{line}: {rule}')
    print(f'{found} findings' if found else 'no secrets found')
    return 1 if found else 0


def test() -> int:
    failed = 0

    def expect(what, actual, expected):
        nonlocal failed
        if actual != expected:
            failed += 1
            print(f'FAIL {what}: {actual}, not {expected}')

    for name, _, planted, alike in RULES:
        expect(f'{name} planted', name in [rule for _, rule in findings('a.txt', planted.encode())], True)
        expect(f'{name} in the middle', name in [rule for line, rule in findings('a.txt', f'x\n{planted}\ny'.encode()) if line == 2], True)
        expect(f'{name} look-alike', [rule for _, rule in findings('a.txt', alike.encode())], [])
        expect(f'{name} marked', list(findings('a.txt', f'{planted} # scan:allow published example'.encode())), [])
        expect(f'{name} marked without a reason', len(list(findings('a.txt', f'{planted} # scan:allow '.encode()))) > 0, True)
    for path in ['.env', 'x/id_rsa', 'keys/site.p12']:
        expect(path, [rule for _, rule in findings(path, b'')], ['secret-file'])
    expect('.env.example', list(findings('.env.example', b'POSTGRES_PASSWORD=\n')), [])
    expect('plain sops file', [rule for _, rule in findings('secrets/a.sops.yaml', b'db: x\n')], ['sops-file-in-plain'])
    expect('sops file', list(findings('secrets/a.sops.yaml', b'db: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\nsops:\n  mac: x\n')), [])
    with tempfile.TemporaryDirectory() as folder:
        git = ['git', '-C', folder]
        subprocess.run([*git, 'init', '-q'], check=True)
        (Path(folder) / '.gitignore').write_text('ignored\n')
        (Path(folder) / 'ignored').write_text(RULES[1][2])
        expect('a tree without secrets', scan(Path(folder)), 0)
        (Path(folder) / 'tests').mkdir()
        (Path(folder) / 'tests' / 'new.txt').write_text(RULES[1][2])
        expect('an untracked file in tests', scan(Path(folder)), 1)
    print('secret_scan: %d rules, %s' % (len(RULES), 'all proven' if not failed else f'{failed} failures'))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(test() if sys.argv[1:] == ['--test'] else scan(Path(__file__).resolve().parent.parent))
