"""The commands and variables of the stack's processes. Starts none of them."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from rolldock.cli.stack.home import Home, local_store
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.program import Program
from rolldock.errors import UsageError
from rolldock.gateway.config import CONFIG_VARIABLE as GATEWAY_CONFIG
from rolldock.gateway.config import GatewayConfig
from rolldock.sandboxd.config import SandboxdConfig
from rolldock.settings import HOME_VARIABLE

CHECKOUT: Final = Path(__file__).resolve().parents[3]
NAMESPACE: Final = "default"
GATEWAY_IN_SANDBOX: Final = "http://127.0.0.64:41800"
"""The fixed address in every local sandbox that leads to the gateway."""

TEMPORAL: Final = "temporal"
GATEWAY: Final = "gateway"
SANDBOXD: Final = "sandboxd"
WORKER: Final = "worker"
SCRIPTED: Final = "scripted"

_OVERRULED: Final = ("PRIME_", "TEMPORAL_")
"""Variables of other deployments: no process of this stack may see them."""
_OVERRULED_SETTINGS: Final = frozenset(
    {"ROLLDOCK_SECRET", "ROLLDOCK_TEMPORAL_ADDRESS", "ROLLDOCK_TEMPORAL_NAMESPACE"}
)
_STOP_SLACK_SECONDS: Final = 10.0
_WORKER_STOP_SECONDS: Final = 40.0
"""More than the worker's own grace for stages in mid-flight."""


def check_machine(options: StackOptions) -> None:
    """Whether this machine has what a stack is made of.

    Raises:
        UsageError: something is missing.
    """
    if os.geteuid() != 0:
        raise UsageError(
            "the stack's local sandboxes need root: run this as root (a Docker backend, which "
            "needs none, is planned)"
        )
    if options.worker and not (CHECKOUT / "worker.py").exists():
        raise UsageError(
            f"{CHECKOUT} holds no worker.py: the stack runs from a checkout of Rolldock, "
            "not from an installed package"
        )
    if not _temporal_binary().exists():
        raise UsageError(f"no Temporal server at {_temporal_binary()}: run `uv sync`")
    if shutil.which("setpriv") is None:
        raise UsageError("setpriv is not installed: install the package util-linux")
    if options.scripts is not None and not options.scripts.is_dir():
        raise UsageError(f"{options.scripts}: no such directory of scripts")


def wanted_ports(options: StackOptions) -> tuple[Port, ...]:
    """The ports that this stack needs."""
    return tuple(port for port in Port if port is not Port.SCRIPTED or options.scripts is not None)


class Programs:
    """Every program of one stack, its ports and keys filled in."""

    def __init__(
        self, options: StackOptions, home: Home, ports: dict[Port, int], api_key: str
    ) -> None:
        self._options = options
        self._home = home
        self._ports = ports
        self._api_key = api_key
        self.store = options.store or str(home.store)

    def variables(self) -> dict[str, str]:
        """Where the stack is, as variables: for the worker and for `stack.env`."""
        temporal_ui = f"http://127.0.0.1:{self._ports[Port.TEMPORAL_UI]}"
        return {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self._ports[Port.TEMPORAL]}",
            "TEMPORAL_NAMESPACE": NAMESPACE,
            "ROLLDOCK_TEMPORAL_UI": temporal_ui,
            "ROLLDOCK_STORE": self.store,
            "ROLLDOCK_SECRET_FILE": str(self._home.secret_file),
            "ROLLDOCK_GATEWAY_URL": GATEWAY_IN_SANDBOX,
            "ROLLDOCK_DEFAULT_IMAGE": "host",
            "ROLLDOCK_CACHE": str(self._home.root / "cache"),
            "ROLLDOCK_AGENT_CACHE": str(self._options.agent_cache),
            "PRIME_API_BASE_URL": f"http://127.0.0.1:{self._ports[Port.SANDBOXD]}",
            "PRIME_API_KEY": self._api_key,
        }

    def temporal(self) -> Program:
        """The Temporal dev server with its database in a file."""
        command = (
            *(str(_temporal_binary()), "server", "start-dev", "--ip", "127.0.0.1"),
            *("--port", str(self._ports[Port.TEMPORAL])),
            *("--ui-port", str(self._ports[Port.TEMPORAL_UI]), "--ui-disable-news-fetch"),
            *("--db-filename", str(self._home.temporal_database)),
            # Two and a half times the throughput of the defaults; a power cut may lose seconds.
            *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
            # Long polls for results: the default refuses the 1201st.
            *("--dynamic-config-value", "frontend.namespaceCount=20000"),
            # The default of 20 a second puts 50 ms between two stages of a lone rollout.
            *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
            *("--dynamic-config-value", "history.visibilityProcessorMaxPollRPS=2000"),
            *("--log-level", "error"),
        )
        port = self._ports[Port.TEMPORAL]
        return Program(name=TEMPORAL, command=command, env=self._environment({}), port=port)

    def gateway(self) -> Program:
        """The gateway with its socket-holding parent."""
        config = GatewayConfig(
            store=self.store,
            secret_file=self._home.secret_file,
            port=self._ports[Port.GATEWAY],
            faults=self._options.faults,
        )
        return self._serving(
            GATEWAY,
            _module("rolldock.gateway"),
            {GATEWAY_CONFIG: config.model_dump_json()},
            stop_seconds=config.drain_seconds + _STOP_SLACK_SECONDS,
        )

    def sandboxd(self) -> Program:
        """The local sandbox server."""
        config = SandboxdConfig(
            state_dir=self._home.sandboxes,
            api_key=self._api_key,
            port=self._ports[Port.SANDBOXD],
            gateway_port=self._ports[Port.GATEWAY],
            hidden=(self._home.root, *local_store(self.store), CHECKOUT),
            agent_cache=self._options.agent_cache,
            faults=self._options.faults,
        )
        return self._serving(
            SANDBOXD,
            _module("rolldock.sandboxd"),
            {"ROLLDOCK_SANDBOXD_CONFIG": config.model_dump_json()},
        )

    def scripted(self, scripts: Path) -> Program:
        """A model server that plays the conversations of a directory."""
        where = ("--scripts", str(scripts.absolute()), "--port", str(self._ports[Port.SCRIPTED]))
        faults = ("--faults",) if self._options.faults else ()
        return self._serving(SCRIPTED, (*_module("rolldock.scripted"), *where, *faults), {})

    def worker(self) -> Program:
        """The worker, in all its roles."""
        return Program(
            name=WORKER,
            command=(sys.executable, str(CHECKOUT / "worker.py")),
            env=self._environment(self.variables()),
            ready_line="worker ready",
            stop_seconds=_WORKER_STOP_SECONDS,
        )

    def _serving(
        self,
        name: str,
        command: tuple[str, ...],
        env: dict[str, str],
        stop_seconds: float = _STOP_SLACK_SECONDS,
    ) -> Program:
        return Program(
            name=name,
            command=command,
            env=self._environment(env),
            ready_line="listening on ",
            stop_seconds=stop_seconds,
        )

    def _environment(self, own: dict[str, str]) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OVERRULED) and name not in _OVERRULED_SETTINGS
        }
        # Unbuffered: the line that says a process is ready goes into a file.
        base = {"PYTHONUNBUFFERED": "1", HOME_VARIABLE: str(self._home.root)}
        return inherited | base | self._options.environment | own


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


def _temporal_binary() -> Path:
    return Path(sys.executable).with_name("temporal")
