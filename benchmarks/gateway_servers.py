"""The servers that the gateway's benchmark measures, each a process of its own on a given core.

(a) the upstream itself, (b) a bare proxy, (c) our gateway, (d) LiteLLM's proxy, (e) the
interception server of `verifiers`. What is asked of them, and what is counted, is in other files.
"""

import asyncio
import json
import os
import secrets
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
from gateway_bodies import MODEL
from gateway_program import Program
from peers.environments import CACHE, install

from rolldock.cli.stack.ports import free_port
from rolldock.errors import UnavailableError
from rolldock.gateway.config import CONFIG_VARIABLE
from rolldock.gateway.session_log import SessionLog
from rolldock.gateway.tokens import sign_session
from rolldock.models.endpoint import Endpoint
from rolldock.models.session import Session
from rolldock.models.spec import Delivery
from rolldock.store import endpoints
from rolldock.store.store import Store

HERE: Final = Path(__file__).parent
_START_SECONDS: Final = 120
"""LiteLLM takes most of a minute on its first start."""
_SECRET: Final = b"a secret of this benchmark, long enough to sign with"


class Server(ABC):
    """One server under test."""

    name: str
    letter: str

    def __init__(self, upstream: int, core: int, directory: Path) -> None:
        self.upstream = upstream
        """The port of the model server."""
        self._core = core
        self._directory = directory
        self.port = upstream
        self.program: Program | None = None

    @abstractmethod
    async def start(self) -> None:
        """Start it and wait until it takes requests.

        Raises:
            UnavailableError: it does not start, or cannot be installed.
        """

    async def sessions(self, n: int) -> list[str]:
        """API keys of so many new sessions."""
        return ["none"] * n

    def end(self) -> None:
        """End what was started."""
        if self.program is not None:
            self.program.end()

    def _run(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> Program:
        log = self._directory / f"{self.name}.log"
        self.program = Program(command, core=self._core, log=log, environment=environment)
        return self.program


class Straight(Server):
    """The upstream itself."""

    name, letter = "straight", "a"

    async def start(self) -> None:
        """Nothing to start."""


class PassThrough(Server):
    """A bare aiohttp proxy."""

    name, letter = "aiohttp", "b"

    async def start(self) -> None:
        upstream = f"http://127.0.0.1:{self.upstream}"
        program = self._run(sys.executable, HERE / "gateway_passthrough.py", upstream)
        self.port = await program.port()


class Gateway(Server):
    """Our gateway, with its parent, recording to a directory."""

    name, letter = "rolldock", "c"

    def __init__(
        self,
        upstream: int,
        core: int,
        directory: Path,
        delivery: Delivery = Delivery.HELD,
        *,
        token_ids: bool = False,
    ) -> None:
        super().__init__(upstream, core, directory)
        self._delivery = delivery
        self._token_ids = token_ids
        self.store = Store.open(str(directory / "store"))

    async def start(self) -> None:
        endpoint = Endpoint(
            name="bench",
            version=1,
            replicas=(f"http://127.0.0.1:{self.upstream}/v1",),
            model=MODEL,
            token_ids=self._token_ids,
            created_at=datetime.now(UTC),
        )
        await endpoints.add(self.store, endpoint)
        config = {"store": self.store.where, "secret": _SECRET.decode()}
        environment = {CONFIG_VARIABLE: json.dumps(config)}
        command = (sys.executable, "-m", "rolldock.gateway")
        self.port = await self._run(*command, environment=environment).port()

    async def sessions(self, n: int) -> list[str]:
        return [self.key(await self.open()) for _ in range(n)]

    async def open(self) -> str:
        """Open a session. Returns its attempt."""
        now = datetime.now(UTC)
        session = Session(
            attempt=str(uuid.uuid4()),
            rollout="bench/rollout",
            endpoint="bench",
            delivery=self._delivery,
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
        await SessionLog(self.store, session.attempt).open(session)
        return session.attempt

    def key(self, attempt: str) -> str:
        """The API key of a session."""
        return sign_session(_SECRET, attempt, datetime.now(UTC) + timedelta(hours=1))


class LiteLLM(Server):
    """LiteLLM's proxy with one worker and no database."""

    name, letter = "litellm", "d"
    _key: Final = f"sk-{secrets.token_hex(32)}"

    async def sessions(self, n: int) -> list[str]:
        return [self._key] * n

    async def start(self) -> None:
        place = await install("litellm")
        config = self._directory / "litellm.json"  # JSON is YAML
        parameters = {
            "model": f"openai/{MODEL}",
            "api_base": f"http://127.0.0.1:{self.upstream}/v1",
            "api_key": "none",
        }
        models = [{"model_name": MODEL, "litellm_params": parameters}]
        general = {"master_key": self._key}
        config.write_text(json.dumps({"model_list": models, "general_settings": general}))
        home = CACHE / "home"
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            "HOME": str(home),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_TELEMETRY": "False",
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        }
        self.port = free_port()
        command = (place / "bin" / "litellm", "--config", config, "--host", "127.0.0.1")
        self._run(*command, "--port", str(self.port), environment=environment)
        await self._until_alive(f"http://127.0.0.1:{self.port}/health/liveliness")

    async def _until_alive(self, url: str) -> None:
        assert self.program is not None
        async with aiohttp.ClientSession() as http:
            for _ in range(_START_SECONDS * 5):
                if self.program.process.poll() is not None:
                    await self.program.line()
                try:
                    async with http.get(url) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.2)
        raise UnavailableError(f"litellm does not answer at {url}: see {self._directory}")


class Verifiers(Server):
    """The interception server of `verifiers` 0.4, which keeps its traces in memory."""

    name, letter = "verifiers", "e"

    async def start(self) -> None:
        place = await install("verifiers")
        script = HERE / "peers" / "verifiers" / "interception.py"
        home = CACHE / "home"
        home.mkdir(parents=True, exist_ok=True)
        upstream = f"http://127.0.0.1:{self.upstream}/v1"
        environment = {"HOME": str(home)}
        program = self._run(place / "bin" / "python", script, upstream, environment=environment)
        self.port = await program.port()

    async def sessions(self, n: int) -> list[str]:
        assert self.program is not None
        return json.loads(await self.program.ask(str(n)))


SERVERS: Final[tuple[type[Server], ...]] = (Straight, PassThrough, Gateway, LiteLLM, Verifiers)
