#!/usr/bin/env python3
"""As the probe of the image of orthancteam: test-aliveness.py --user=NAME:PASSWORD."""
import base64
import sys
import urllib.request

user = next(a.removeprefix('--user=') for a in sys.argv[1:] if a.startswith('--user='))
request = urllib.request.Request('http://127.0.0.1:8042/system', headers={'Authorization': 'Basic ' + base64.b64encode(user.encode()).decode()})
urllib.request.urlopen(request, timeout=5).read()
