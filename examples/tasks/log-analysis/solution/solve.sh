#!/bin/bash
set -eu
python3 - <<'PYTHON'
import json
import re
from collections import Counter, defaultdict

LINE = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[[^:]+:(?P<minute>\d\d:\d\d):\d\d [^\]]+\] '
    r'"\S+ (?P<path>[^ ?"]+)\S* [^"]+" (?P<status>\d+) \d+ "[^"]*" "[^"]*" (?P<seconds>\S+)'
)
with open("access.log") as file:
    entries = [LINE.fullmatch(line.strip()).groupdict() for line in file]


def most(field, status):
    return Counter(e[field] for e in entries if e["status"] == status).most_common(1)[0][0]


times = defaultdict(list)
for entry in entries:
    times[entry["path"]].append(float(entry["seconds"]))
means = {path: sum(taken) / len(taken) for path, taken in times.items() if len(taken) >= 20}
report = {
    "requests": len(entries),
    "server_errors": sum(int(entry["status"]) >= 500 for entry in entries),
    "worst_minute": most("minute", "503"),
    "scanner": most("address", "404"),
    "failing_path": most("path", "500"),
    "slowest_path": max(means, key=means.get),
}
with open("report.json", "w") as file:
    json.dump(report, file, indent=2)
PYTHON
