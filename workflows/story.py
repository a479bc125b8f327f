"""How a rollout reads in the Temporal UI: summaries, live details, search attributes.

Nothing here is a command, apart from the search attributes: words may change while rollouts run.
The agent's turns and tokens are told by the heartbeats of `await_agent` (`activities/telling.py`).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from rolldock.models import names
    from rolldock.models.result import AttemptResult, RolloutResult, Stage, Status
    from rolldock.models.stages import Order
    from rolldock.origin import origin

_STAGE: Final = SearchAttributeKey.for_keyword(names.ATTRIBUTE_STAGE)
_OUTCOME: Final = SearchAttributeKey.for_keyword(names.ATTRIBUTE_OUTCOME)
_CLEANUP: Final = SearchAttributeKey.for_keyword(names.ATTRIBUTE_CLEANUP)

_SUMMARY_BYTES: Final = 400
"""Temporal's limit; a longer one would fail the workflow task."""

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()#+!|<>~&:@])")
"""What Markdown could read as a link, an image or HTML in words that are not ours."""

_DOING: Final = {
    Stage.CREATE_SANDBOX: "Its sandbox is being made.",
    Stage.SET_UP_SANDBOX: "Task and agent are brought into the sandbox.",
    Stage.START_AGENT: "The agent is launched.",
    Stage.AWAIT_AGENT: (
        "The agent works. Its turns, tokens and last tool call are the heartbeat details of the "
        "pending activity await\\_agent."
    ),
    Stage.STOP_AGENT: "The session and the agent are ended.",
    Stage.KEEP_WORKSPACE: "What the agent left is kept, so that it can be graded again.",
    Stage.GRADE: "The task's tests run on what the agent left.",
}


def create(order: Order) -> str:
    """What create_sandbox is about to do."""
    resources = order.spec.resources
    return (
        f"Create the sandbox of attempt {order.number} of {order.spec.attempts}: "
        f"{resources.cpu_cores:g} CPU, {resources.memory_gb:g} GB"
    )


def set_up(order: Order) -> str:
    """What set_up_sandbox is about to do."""
    return _fit(f"Bring {order.spec.task.name} and {order.spec.agent.name} into the sandbox")


def start(order: Order) -> str:
    """What start_agent is about to do."""
    model = f" with {order.spec.endpoint}" if order.spec.endpoint else ""
    return f"Launch {order.spec.agent.name}{model}, detached"


def watch(order: Order, deadline: datetime) -> str:
    """What await_agent is about to do."""
    return f"Watch {order.spec.agent.name} until it ends, at the latest at {deadline:%H:%M:%S} UTC"


def stop(reason: str) -> str:
    """What stop_agent is about to do."""
    return f"End the session and the agent ({reason})"


def collect() -> str:
    """What stop_agent does after a failure."""
    return "The attempt is over: end what runs, keep what logs there are"


def keep() -> str:
    """What keep_workspace is about to do."""
    return "Keep what the agent left as a checkpoint, to grade it again"


def grade(order: Order) -> str:
    """What grade is about to do."""
    return _fit(f"Run the tests of {order.spec.task.name}, keep all logs")


def seal(last: bool) -> str:
    """What seal_trace is about to do."""
    return "Seal the trace and commit the result" if last else "Seal the trace of this attempt"


def delete(sandbox_id: str | None) -> str:
    """What delete_sandbox is about to do."""
    return f"Delete sandbox {sandbox_id}" if sandbox_id else "Make sure that no sandbox is left"


def tell(order: Order, stage: Stage, timings: Mapping[str, float]) -> None:
    """Live details: where the rollout is, and what the attempt has behind it."""
    stages = "\n".join(
        f"- {plain_words(name)}: {seconds:.1f} s" for name, seconds in timings.items()
    )
    done = f"Done so far:\n\n{stages}" if stages else ""
    workflow.set_current_details(
        _paragraphs(
            f"**{plain_words(stage)}** · attempt {order.number} of {order.spec.attempts}",
            plain_words(origin(order.spec) or ""),
            _DOING.get(stage, ""),
            done,
            _look(f"show {order.rollout}", f"logs -f {order.rollout}", "view"),
        )
    )


def mark_stage(stage: Stage) -> None:
    """The stage as a search attribute, at the two stages that last."""
    _upsert([_STAGE.value_set(stage)])


def mark_end(result: RolloutResult | None, clean: bool) -> None:
    """Outcome and cleanup as search attributes, once."""
    outcome = names.NO_OUTCOME if result is None else _outcome(result)
    _upsert(
        [
            _STAGE.value_set("done"),
            _OUTCOME.value_set(outcome),
            _CLEANUP.value_set("clean" if clean else "leaked"),
        ]
    )


def count_leak() -> None:
    """A sandbox that could not be deleted, as a metric."""
    counter = workflow.metric_meter().create_counter(
        "rolldock_leaked_rollouts", "Closed although their sandbox could not be deleted"
    )
    counter.add(1)


def tell_end(result: RolloutResult) -> None:
    """Details of a closed rollout: the result in words, attempt by attempt."""
    attempts = [
        f"- attempt {attempt.number}: {plain_words(_ending(attempt))}"
        for attempt in result.attempts
        if len(result.attempts) > 1 or attempt.failure is not None
    ]
    workflow.set_current_details(
        _paragraphs(
            f"**{plain_words(result.status)}** · {plain_words(verdict(result))}",
            plain_words(origin(result.spec) or ""),
            "\n".join(attempts),
            _look(f"show {result.rollout}", f"trace {result.rollout}", "view"),
        )
    )


def _ending(attempt: AttemptResult) -> str:
    if attempt.failure is None:
        return f"{attempt.stop_reason}, graded"
    failed = attempt.failure
    return f"{failed.cause} in {failed.stage}: {failed.message}"


def verdict(result: RolloutResult) -> str:
    """A result in one sentence."""
    if result.failure is not None:
        failed = result.failure
        return f"{result.status} in {failed.stage}: {failed.cause}: {failed.message}"
    turns = result.trace.n_turns if result.trace else 0
    reward = result.rewards if result.reward is None else f"{result.reward:g}"
    return f"reward {reward}, {result.stop_reason}, {turns} turns"


def _look(*commands: str) -> str:
    """Where to see more, as commands to copy: the installation's addresses are not known here."""
    shown = "\n".join(f"- `rolldock {command}`" for command in commands)
    return f"To see more:\n\n{shown}"


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


def plain_words(words: str) -> str:
    """Words of tasks, agents and providers in Markdown: shown, never obeyed."""
    return _MARKUP.sub(r"\\\1", " ".join(words.split()))


def _fit(summary: str) -> str:
    return summary.encode()[:_SUMMARY_BYTES].decode(errors="ignore")


def _outcome(result: RolloutResult) -> str:
    if result.status is Status.FAILED and result.failure is not None:
        return str(result.failure.cause)
    return str(result.stop_reason)


def _upsert(updates: list[SearchAttributeUpdate[str]]) -> None:
    # The SDK annotates its parameter without the update's type argument.
    workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType]
