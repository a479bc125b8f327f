"""A real small model, SmolLM2 on llama.cpp, in a process of its own."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM = Path(__file__).parent / "gateway" / "llama_server.py"


@contextmanager
def llama_server() -> Generator[str]:
    """The base of its chat completions; the process is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        address = next(line.split()[-1] for line in lines if line.startswith("listening on "))
        yield f"{address}/v1"
    finally:
        process.kill()
        process.communicate()
