"""`rolldock export`: ended rollouts in the formats of others, from the store alone."""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import typer

from rolldock.cli.filters import Filters
from rolldock.errors import UsageError
from rolldock.exports.documents import SUFFIXES, Format, document
from rolldock.exports.harbor import add_trial
from rolldock.exports.harbor_job import add_job
from rolldock.exports.material import Lack, read_material
from rolldock.exports.tree import Tree
from rolldock.exports.writing import directory, write_file
from rolldock.index.cache import IndexCache
from rolldock.index.place import cache_file
from rolldock.models.base import Contract
from rolldock.models.result import RolloutResult
from rolldock.settings import Settings
from rolldock.store import keys
from rolldock.store.store import Store


class ExportRequest(Contract):
    """What is to be exported, and where to."""

    rollouts: tuple[str, ...]
    """By their ids; none: those that the filters choose."""
    filters: Filters
    kind: Format
    out: Path | None
    """A directory, or a file where the format is one or only one rollout is asked for; None:
    stdout."""
    as_json: bool


async def export(request: ExportRequest) -> int:
    """Write what is asked for. Temporal is not needed, nor is any worker.

    Raises:
        UsageError: nothing is chosen, an id has no result, or the place cannot be written.
        UnavailableError: the store does not answer.
    """
    settings = Settings.load()
    store = Store.open(settings.store)
    rollouts = await _chosen(request, store, settings)
    kind, out = request.kind, request.out
    done = _Done(kind, out)
    if kind is Format.HARBOR:
        await _jobs(store, rollouts, _named(out), done)
    elif out is None or kind is Format.JSONL or (len(rollouts) == 1 and _is_file(kind, out)):
        if out is None and kind is not Format.JSONL and len(rollouts) > 1:
            _named(out)
        await _one_file(store, rollouts, done)
    else:
        await _files(store, rollouts, out, done)
    if out is not None:
        typer.echo(done.as_json() if request.as_json else done.words())
    elif done.lacking:
        typer.echo(done.lacks(), err=True)
    return 0


class _Done:
    """What has been written so far."""

    def __init__(self, kind: Format, out: Path | None) -> None:
        self.kind = kind
        self.out = out
        self.n_rollouts = 0
        self.lacking: dict[Lack, list[str]] = {}
        """Rollouts that are left out, or, where the format can do without, lack a conversation."""
        self.missing: list[str] = []
        self.is_written = True

    def count(self, rollout: str, content: bytes | Lack) -> bytes:
        """Count a rollout and give its document; empty where it is left out."""
        if isinstance(content, Lack):
            self.lacking.setdefault(content, []).append(rollout)
            return b""
        self.n_rollouts += 1
        return content

    def as_json(self) -> str:
        """For programs."""
        return json.dumps(
            {
                "format": str(self.kind),
                "out": str(self.out) if self.is_written else None,
                "rollouts": self.n_rollouts,
                "without_turns": self.lacking.get(Lack.NO_CALL, []),
                "recording_deleted": self.lacking.get(Lack.DELETED, []),
                "recording_unreadable": self.lacking.get(Lack.UNREADABLE, []),
                "missing": self.missing,
            }
        )

    def words(self) -> str:
        """For a person, as one line."""
        noun = "rollout" if self.n_rollouts == 1 else "rollouts"
        said = f"{self.n_rollouts} {noun} -> {self.out}"
        if not self.is_written:
            said = f"nothing to write, so {self.out} was not written"
        if self.lacking:
            said += f"; {self.lacks()}"
        if self.missing:
            said += f"; files that the store no longer has: {len(self.missing)}"
        return said

    def lacks(self) -> str:
        """How many rollouts lack a conversation, by the reason."""
        become = "without a trajectory" if self.kind is Format.HARBOR else "left out"
        counted = sorted((lack, len(rollouts)) for lack, rollouts in self.lacking.items())
        return "; ".join(f"{become}, since {lack}: {n}" for lack, n in counted)


async def _chosen(request: ExportRequest, store: Store, settings: Settings) -> list[str]:
    """The ids, in their order by name: the same choice gives the same bytes."""
    given = request.filters.model_dump(exclude_none=True)
    if request.rollouts:
        if given:
            raise UsageError("rollout ids and filters together: give either ids or filters")
        return sorted(set(request.rollouts))
    query = request.filters.ended()
    if query is None:
        raise UsageError("--status running: only rollouts that have ended can be exported")
    if not given:
        raise UsageError("nothing is chosen: name rollouts, or filter, e.g. --experiment NAME")
    with closing(IndexCache.open(store, cache_file(settings.cache, store.where))) as cache:
        await cache.refresh()
        found = sorted({entry.rollout for entry in cache.find(query)})
    if not found:
        raise UsageError("no rollout that has ended fits these filters: see `rolldock ls`")
    return found


def _is_file(kind: Format, out: Path) -> bool:
    return out.suffix == SUFFIXES[kind] and not out.is_dir()


def _named(out: Path | None) -> Path:
    if out is None:
        raise UsageError("--out is missing: name the directory that the export is to be")
    return out


async def _one_file(store: Store, rollouts: Sequence[str], done: _Done) -> None:
    """All documents one after another, into a file or to stdout."""

    async def pieces() -> AsyncIterator[bytes]:
        for rollout in rollouts:
            yield done.count(rollout, await document(store, rollout, done.kind))

    if done.out is not None:
        done.is_written = await write_file(done.out, pieces())
        return
    async for piece in pieces():
        sys.stdout.buffer.write(piece)


async def _files(store: Store, rollouts: Sequence[str], out: Path, done: _Done) -> None:
    """A directory with one file for each rollout."""
    async with directory(out, store) as made:
        for rollout in rollouts:
            content = done.count(rollout, await document(store, rollout, done.kind))
            tree = Tree()
            if content:
                tree.add(f"{keys.segment(rollout)}{SUFFIXES[done.kind]}", content)
            await made.add(tree)


async def _jobs(store: Store, rollouts: Sequence[str], out: Path, done: _Done) -> None:
    """A directory of Harbor's jobs, one for each experiment."""
    jobs: dict[str, list[RolloutResult]] = {}
    async with directory(out, store) as made:
        for rollout in rollouts:
            material = await read_material(store, rollout)
            tree = Tree()
            add_trial(tree, material)
            await made.add(tree)
            jobs.setdefault(material.result.experiment, []).append(material.result)
            done.n_rollouts += 1
            # A trial needs no trajectory, but one that there was is not left out in silence.
            lack = material.lack
            if lack is not None and lack is not Lack.NO_CALL:
                done.lacking.setdefault(lack, []).append(rollout)
        for results in jobs.values():
            tree = Tree()
            add_job(tree, results)
            await made.add(tree)
        done.missing = made.missing
