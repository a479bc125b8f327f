"""What a run under chaos cost and whether it kept its promises, counted from what was recorded."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType

from rolldock.faults.model import JournalEntry
from rolldock.gateway.session_log import SessionLog
from rolldock.models.result import AttemptResult, RolloutResult, Stage
from rolldock.models.session import TurnReply
from rolldock.sandbox.client import Sandboxes
from rolldock.sandbox.labels import Ownership, write_labels
from rolldock.trainer.client import Client

_AT_ONCE = 16
_PAGE = 100


@dataclass(slots=True)
class Ledger:
    """Counts over all rollouts of a run."""

    attempts: int = 0
    re_attachments: int = 0
    """Tries of await_agent after the first: another worker went on watching a running agent."""
    turns: int = 0
    calls_again: int = 0
    """Model calls for a slot that had been asked before: their answers had been lost in flight."""
    recorded_again: int = 0
    """Of these, the ones whose turn had been recorded already: must be 0."""
    causes: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """Why attempts failed."""


async def count(
    client: Client, results: Sequence[RolloutResult], journal: Sequence[JournalEntry]
) -> Ledger:
    """Read histories and session logs of finished rollouts."""
    ledger = Ledger()
    slots = asyncio.Semaphore(_AT_ONCE)
    calls: dict[tuple[str, int], list[JournalEntry]] = defaultdict(list)
    for entry in journal:
        if entry.session is not None and entry.slot is not None:
            calls[entry.session, entry.slot].append(entry)

    async def one(result: RolloutResult) -> None:
        async with slots:
            ledger.attempts += len(result.attempts)
            ledger.re_attachments += await _re_attachments(client, result)
            for attempt in result.attempts:
                if attempt.failure is not None:
                    ledger.causes[str(attempt.failure.cause)] += 1
                await _count_turns(client, attempt, calls, ledger)

    await asyncio.gather(*(one(result) for result in results))
    return ledger


async def _re_attachments(client: Client, result: RolloutResult) -> int:
    history = await client.temporal.get_workflow_handle(result.rollout).fetch_history()
    stages = {
        event.event_id: event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }
    started = [
        event.activity_task_started_event_attributes
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    ]
    return sum(
        one.attempt - 1 for one in started if stages[one.scheduled_event_id] == Stage.AWAIT_AGENT
    )


async def _count_turns(
    client: Client,
    attempt: AttemptResult,
    calls: dict[tuple[str, int], list[JournalEntry]],
    ledger: Ledger,
) -> None:
    log = SessionLog(client.store, attempt.attempt)
    for reply in await log.replies(sorted((await log.listing()).replies)):
        if not isinstance(reply, TurnReply):
            continue
        ledger.turns += 1
        asked = calls[attempt.attempt, reply.turn.slot]
        ledger.calls_again += max(0, len(asked) - 1)
        ledger.recorded_again += sum(entry.received_at > reply.turn.ended_at for entry in asked)


async def sandboxes_made(sandboxes: Sandboxes, deployment: str) -> int:
    """How many sandboxes of a deployment the server has ever made, ended ones too."""
    labels = write_labels(Ownership(deployment=deployment))
    page = await sandboxes.sdk.list(labels=labels, per_page=_PAGE, exclude_terminated=False)
    return page.total
