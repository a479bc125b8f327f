"""How a rollout reads in the Temporal UI: summaries, live details, search attributes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from rolldock.models import names
    from rolldock.models.result import RolloutResult, Stage, Status
    from rolldock.models.stages import Order

_STAGE: Final = SearchAttributeKey.for_keyword(names.ATTRIBUTE_STAGE)
_OUTCOME: Final = SearchAttributeKey.for_keyword(names.ATTRIBUTE_OUTCOME)
_CLEANUP: Final = SearchAttributeKey.for_keyword(names.ATTRIBUTE_CLEANUP)


def create(order: Order) -> str:
    """What create_sandbox is about to do."""
    resources = order.spec.resources
    return (
        f"Create the sandbox of attempt {order.number} of {order.spec.attempts}: "
        f"{resources.cpu_cores:g} CPU, {resources.memory_gb:g} GB"
    )


def set_up(order: Order) -> str:
    """What set_up_sandbox is about to do."""
    return f"Bring {order.spec.task.name} and {order.spec.agent.name} into the sandbox"


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


def grade(order: Order) -> str:
    """What grade is about to do."""
    return f"Run the tests of {order.spec.task.name}, keep all logs"


def seal(last: bool) -> str:
    """What seal_trace is about to do."""
    return "Seal the trace and commit the result" if last else "Seal the trace of this attempt"


def delete(sandbox_id: str | None) -> str:
    """What delete_sandbox is about to do."""
    return f"Delete sandbox {sandbox_id}" if sandbox_id else "Make sure that no sandbox is left"


def tell(order: Order, stage: Stage, timings: Mapping[str, float]) -> None:
    """Live details: where the rollout is, and what it has behind it."""
    spec = order.spec
    done = "\n".join(f"- {name}: {seconds:.1f} s" for name, seconds in timings.items())
    workflow.set_current_details(
        f"**{stage}** · attempt {order.number} of {spec.attempts}\n\n"
        f"{spec.task.name} · {spec.agent.name} · {spec.endpoint or 'no model'}\n\n{done}"
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
    """Details of a closed rollout: the result in words."""
    workflow.set_current_details(verdict(result))


def verdict(result: RolloutResult) -> str:
    """A result in one sentence."""
    if result.failure is not None:
        failed = result.failure
        return f"{result.status} in {failed.stage}: {failed.cause}: {failed.message}"
    turns = result.trace.n_turns if result.trace else 0
    reward = result.rewards if result.reward is None else f"{result.reward:g}"
    return f"reward {reward}, {result.stop_reason}, {turns} turns"


def _outcome(result: RolloutResult) -> str:
    if result.status is Status.FAILED and result.failure is not None:
        return str(result.failure.cause)
    return str(result.stop_reason)


def _upsert(updates: list[SearchAttributeUpdate[str]]) -> None:
    # The SDK annotates its parameter without the update's type argument.
    workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType]
