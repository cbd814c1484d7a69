#!/usr/bin/env python3
"""Writes manifest.json of the bundles that ship with the product: name, version, and the SHA-256 and length of each file.

Usage: models/training/seal.py [BUNDLE_FOLDER...]     (default: models/bundles/*/*)
"""
import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "bundles")
folders = sys.argv[1:] or sorted(os.path.join(ROOT, n, v) for n in os.listdir(ROOT) for v in os.listdir(os.path.join(ROOT, n)))
for folder in folders:
    files = []
    for part in ("LICENSE", "configs", "docs", "models"):
        path = os.path.join(folder, part)
        names = [part] if os.path.isfile(path) else [f"{part}/{n}" for n in sorted(os.listdir(path))] if os.path.isdir(path) else []
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            files.append({"path": name, "sha256": hashlib.sha256(content).hexdigest(), "length": len(content)})
    version = os.path.basename(os.path.normpath(folder))
    name = os.path.basename(os.path.dirname(os.path.normpath(folder)))
    with open(os.path.join(folder, "manifest.json"), "w", encoding="utf-8") as out:
        json.dump({"name": name, "version": version, "files": files}, out, indent=1)
        out.write("\n")
    print(f"{name} {version}: {len(files)} files")
