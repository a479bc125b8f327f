"""Compares report.json with what the log holds; exit code 0 if they agree."""

import json
import sys
from pathlib import Path

EXPECTED = {
    "requests": 1385,
    "server_errors": 67,
    "worst_minute": "10:07",
    "scanner": "10.20.9.77",
    "failing_path": "/checkout",
    "slowest_path": "/search",
}

try:
    report = json.loads(Path("report.json").read_text())
except (OSError, ValueError) as error:
    sys.exit(f"report.json: {error}")
if not isinstance(report, dict) or report.keys() != EXPECTED.keys():
    sys.exit(f"report.json: wants exactly the keys {', '.join(EXPECTED)}")
wrong = [key for key, value in EXPECTED.items() if report[key] != value]
if wrong:
    sys.exit(f"report.json: wrong: {', '.join(wrong)}")
