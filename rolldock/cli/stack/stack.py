"""The stack: its processes in the order of need, one owner for all of them.

`async with Stack(options) as stack:` leaves nothing running: neither when starting fails, nor when
the block ends or raises. After a kill -9 of this process the kernel ends every child; sandboxes
live on, and the next stack of the same home adopts them.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rolldock.cli.stack import ports as port_choice
from rolldock.cli.stack import programs
from rolldock.cli.stack.child import Child
from rolldock.cli.stack.home import Home, keep_secret
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.program import Program
from rolldock.cli.stack.programs import Programs
from rolldock.errors import RolldockError, UnavailableError
from rolldock.settings import Settings

_TEMPORAL_SECONDS: Final = 30.0
"""From its port's first answer until the namespace is there."""

_POLL_SECONDS: Final = 0.05


def _silent(_: str) -> None:
    pass


class Stack:
    """One machine's stack, while the block runs.

    Raises:
        UsageError: on entering: a port is in use, the home is taken, something is missing.
        UnavailableError: on entering: a process did not become ready; its last line says why.
    """

    def __init__(self, options: StackOptions, say: Callable[[str], None] = _silent) -> None:
        self._options = options
        self._say = say
        self._children: dict[str, Child] = {}
        self._exits = AsyncExitStack()
        self._served = False
        self.home = Home(options.home)
        self.ports: dict[Port, int] = {}
        self.settings: Settings
        """For a client of this stack."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            await self._start(exits)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.aclose()

    @property
    def processes(self) -> dict[str, int]:
        """The process id of each part that runs now, by its name."""
        return {name: child.pid for name, child in self._children.items() if child.pid is not None}

    @property
    def scripted_url(self) -> str:
        """The base URL of the scripted model server, ending in /v1."""
        return f"{self.origin(Port.SCRIPTED)}/v1"

    def origin(self, port: Port) -> str:
        """Where a part serves HTTP: its URL without a path."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def log(self, name: str) -> Path:
        """The log of a part."""
        return self._children[name].log

    def kill(self, name: str) -> None:
        """Kill a part as a crash would (SIGKILL); the supervisor starts it again."""
        self._children[name].kill()

    def pause(self, name: str) -> None:
        """Stop a part with its processes (SIGSTOP) until `resume`; for tests and chaos.

        Not a sandboxd's sandboxes. Killing, restarting or ending a paused part works as ever.
        """
        self._children[name].pause()

    def resume(self, name: str) -> None:
        """Let a paused part go on (SIGCONT)."""
        self._children[name].resume()

    async def restart(self, name: str) -> None:
        """End a part in order and start it again; returns once it is ready."""
        await self._children[name].restart()

    async def ready(self, name: str) -> None:
        """Wait until a part serves again after it was killed."""
        await self._children[name].ready()

    async def _start(self, exits: AsyncExitStack) -> None:
        programs.check_machine(self._options)
        self.home.make()
        exits.callback(os.close, self.home.lock())
        self.home.stack_file.unlink(missing_ok=True)
        wanted = programs.wanted_ports(self._options)
        self.ports = await asyncio.to_thread(
            port_choice.choose, self._options, wanted, self.home.ports_file
        )
        keep_secret(self.home.secret_file)
        api_key, _ = keep_secret(self.home.api_key_file)
        self._options.agent_cache.mkdir(parents=True, exist_ok=True)
        made = Programs(self._options, self.home, self.ports, api_key)
        variables = made.variables()
        self.settings = _settings(variables)
        exits.push_async_callback(self._end)
        await self._start_servers(made)
        if self._options.worker:
            await self._start_child(made.worker())
        self._served = True
        self.home.write_stack_file(variables)

    async def _start_servers(self, made: Programs) -> None:
        starting = [made.temporal(), made.gateway(), made.sandboxd()]
        if self._options.scripts is not None:
            starting.append(made.scripted(self._options.scripts))
        tasks = [asyncio.create_task(self._start_child(program)) for program in starting]
        tasks.append(asyncio.create_task(self._prepare_temporal()))
        try:
            await asyncio.gather(*tasks)
        finally:
            # The first failure is the message; the others must have ended before they are stopped.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_child(self, program: Program) -> None:
        child = Child(program, self.home.logs, programs.CHECKOUT, self._say)
        self._children[program.name] = child
        await child.start()

    async def _prepare_temporal(self) -> None:
        # Loaded here: a second of imports, while the servers start.
        from rolldock.trainer.connection import add_attributes, connect_temporal
        from rolldock.trainer.schedule import schedule_reaper

        await self._children[programs.TEMPORAL].ready()
        deadline = time.monotonic() + _TEMPORAL_SECONDS
        every = timedelta(minutes=self.settings.reap_every_minutes)
        while True:
            try:
                temporal = await connect_temporal(self.settings)
                await add_attributes(temporal)
                await schedule_reaper(temporal, every)
                return
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_POLL_SECONDS)

    async def _end(self) -> None:
        self.home.stack_file.unlink(missing_ok=True)
        # The worker goes first: it would give a rollout whose sandbox is deleted a new attempt.
        await self._stop(programs.WORKER)
        await self._delete_sandboxes()
        for name in (programs.GATEWAY, programs.SCRIPTED, programs.SANDBOXD, programs.TEMPORAL):
            await self._stop(name)

    async def _stop(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None:
            await child.stop()

    async def _delete_sandboxes(self) -> None:
        if not self._served:
            return
        from rolldock.cli.stack.sandboxes import delete_live

        try:
            n_deleted = await delete_live(
                str(self.settings.prime_api_base_url), str(self.settings.prime_api_key)
            )
        except RolldockError as error:
            self._say(f"sandboxes may live on, the next stack adopts them: {error}")
            return
        if n_deleted:
            self._say(f"{n_deleted} live sandboxes deleted; their rollouts get a new attempt")


def _settings(variables: dict[str, str]) -> Settings:
    given: dict[str, str | None] = {
        name.removeprefix("ROLLDOCK_").lower() if name.startswith("ROLLDOCK_") else name: value
        for name, value in variables.items()
    }
    # The environment may speak of another deployment: this stack's secret is in its file, and
    # these are the names that win.
    given["secret"] = None
    given["ROLLDOCK_TEMPORAL_ADDRESS"] = given.pop("TEMPORAL_ADDRESS")
    given["ROLLDOCK_TEMPORAL_NAMESPACE"] = given.pop("TEMPORAL_NAMESPACE")
    return Settings.model_validate(given)
