"""`rolldock view`: serve the pages until Ctrl-C, or write one rollout as a file.

It needs the store alone; where Temporal answers quickly, what runs stands there too.
"""

import asyncio
import json
import signal
import webbrowser
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from datetime import UTC
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

import typer
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client as Temporal
from temporalio.service import RPCError

from rolldock.cli.perform import complain
from rolldock.errors import UnavailableError, UsageError
from rolldock.index.cache import IndexCache
from rolldock.index.place import cache_file
from rolldock.models.result import Stage
from rolldock.models.stages import Order
from rolldock.settings import Settings
from rolldock.store.store import Store
from rolldock.trainer.connection import connect_temporal
from rolldock.trainer.handle import RolloutHandle
from rolldock.trainer.live import LiveRollout, list_live
from rolldock.view import places
from rolldock.view.export import export_html
from rolldock.view.library import Library
from rolldock.view.live import OpenAttempt, Running
from rolldock.view.pages import Pages
from rolldock.view.server import serving

_ANSWER_SECONDS: Final = 0.6
"""A page waits no longer for Temporal: what has ended does not need it."""
_PAUSE_SECONDS: Final = 10.0
"""How long a Temporal that did not answer is left alone."""
_RUNNING: Final = "running"

T = TypeVar("T")


async def view(
    rollout: str | None, host: str, port: int, *, open_browser: bool, as_json: bool
) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    settings = Settings.load()
    store = Store.open(settings.store)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with closing(IndexCache.open(store, cache_file(settings.cache, store.where))) as index:
        await index.refresh()
        live = TemporalLive(settings, store)
        pages = Pages(
            Library(store), index, live, settings.temporal_ui, settings.temporal_namespace
        )
        async with serving(pages, host, port) as address:
            shown = address if rollout is None else address[:-1] + places.rollout(rollout)
            _introduce(shown, store.where, host, as_json=as_json)
            if open_browser:
                await asyncio.to_thread(webbrowser.open, shown)
            await stop.wait()
    return 0


async def export(rollout: str | None, file: Path, *, as_json: bool) -> int:
    """Write one rollout as one HTML file."""
    if rollout is None:
        raise UsageError("--export writes one rollout: give its id, as `rolldock ls` shows it")
    html = (await export_html(Store.open(Settings.load().store), rollout)).encode()
    try:
        await asyncio.to_thread(file.write_bytes, html)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}: give --export a file to write") from error
    written = {"rollout": rollout, "file": str(file), "n_bytes": len(html)}
    typer.echo(json.dumps(written) if as_json else f"wrote {file}, {len(html):,} bytes")
    return 0


def _introduce(address: str, store: str, host: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"url": address, "store": store}))
    else:
        typer.echo(f"{address}  shows the store {store}; Ctrl-C ends it")
    if not _is_loopback(host):
        complain(f"whoever reaches {host} from outside can read every rollout of this store")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class TemporalLive:
    """What Temporal says of open rollouts, if it says it quickly."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._temporal: Temporal | None = None
        self._again_at = 0.0

    async def rollouts(self) -> Sequence[LiveRollout] | None:
        """The open rollouts, newest first; None: it does not answer."""
        return await self._asked(self._list)

    async def running(self, rollout: str) -> Running | None:
        """An open rollout; None: there is none of this id, or Temporal does not answer."""
        return await self._asked(lambda: self._describe(rollout))

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._again_at:
            return None
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await question()
        except UsageError:
            return None
        except (UnavailableError, RPCError, TimeoutError):
            self._again_at = loop.time() + _PAUSE_SECONDS
            return None

    async def _connected(self) -> Temporal:
        if self._temporal is None:
            self._temporal = await connect_temporal(self._settings)
        return self._temporal

    async def _list(self) -> Sequence[LiveRollout]:
        return await list_live(await self._connected())

    async def _describe(self, rollout: str) -> Running | None:
        temporal = await self._connected()
        status = await RolloutHandle(temporal, self._store, asyncio.Semaphore(1), rollout).status()
        if status.state != _RUNNING:
            return None
        return Running(
            id=rollout,
            stage=status.stage,
            problem=status.problem,
            started_at=status.started_at,
            attempts=await _attempts(temporal, rollout),
        )


async def _attempts(temporal: Temporal, rollout: str) -> tuple[OpenAttempt, ...]:
    """The attempts of a rollout so far: each begins with its create."""
    history = await temporal.get_workflow_handle(rollout).fetch_history()
    found: list[OpenAttempt] = []
    for event in history.events:
        scheduled = event.activity_task_scheduled_event_attributes
        if (
            event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
            and scheduled.activity_type.name == Stage.CREATE_SANDBOX
        ):
            [order] = await temporal.data_converter.decode(scheduled.input.payloads, [Order])
            began = event.event_time.ToDatetime(UTC)
            found.append(OpenAttempt(attempt=order.attempt, number=order.number, started_at=began))
    return tuple(found)
