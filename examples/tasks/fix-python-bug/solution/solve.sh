#!/bin/bash
set -eu
python3 - <<'PYTHON'
from pathlib import Path

path = Path("intervals/core.py")
text = path.read_text()
text = text.replace("interval.start < merged[-1].end:", "interval.start <= merged[-1].end:")
text = text.replace(
    "Interval(merged[-1].start, interval.end)",
    "Interval(merged[-1].start, max(merged[-1].end, interval.end))",
)
text = text.replace(
    """        if interval.start > position:
            found.append(Interval(position, interval.start))
        position = interval.end
""",
    """        start = min(interval.start, within.end)
        if start > position:
            found.append(Interval(position, start))
        position = max(position, interval.end)
""",
)
path.write_text(text)
PYTHON
python3 -m unittest discover -s tests -t .
