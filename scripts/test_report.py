"""Sums up xUnit XML reports: failures in full, figures that tests print, reasons of what was skipped, then one line of counts.

Usage: test_report.py FOLDER EXPECTED_ASSEMBLY...   An expected assembly without a report counts as a failure.
"""
import collections
import pathlib
import sys
import xml.etree.ElementTree as xml

folder = pathlib.Path(sys.argv[1])
passed = failed = skipped = 0
reasons = collections.Counter()
for assembly in sys.argv[2:]:
    report = folder / f"{assembly}.xml"
    try:
        root = xml.parse(report).getroot()
    except (OSError, xml.ParseError):
        print(f"FAIL  {assembly} ended without a report: it crashed; see {folder}/{assembly}.log")
        failed += 1
        continue
    counted = 0
    for test in root.iter("test"):
        counted += 1
        for line in (test.findtext("output") or "").splitlines():
            if line.startswith("figures:"):
                print(line)
        if test.get("result") == "Pass":
            passed += 1
        elif test.get("result") == "Skip":
            skipped += 1
            reasons[(test.findtext("reason") or "no reason given").strip()] += 1
        else:
            failed += 1
            print(f"FAIL  {test.get('name')}")
            print("      " + (test.findtext("failure/message") or "").strip().replace("\n", "\n      ")[:4000])
            print("      " + (test.findtext("failure/stack-trace") or "").strip().replace("\n", "\n      ")[:2000])
    for error in root.iter("error"):
        failed += 1
        print(f"FAIL  {assembly}: {error.get('name') or error.get('type')}: {(error.findtext('failure/message') or '').strip()[:2000]}")
    if counted == 0:
        failed += 1
        print(f"FAIL  {assembly} ran no test")
for reason, count in reasons.most_common():
    print(f"skipped {count}: {reason}")
print(f"{passed} {failed} {skipped}")
