"""A job of Harbor's: all exported rollouts of one experiment, counted as Harbor counts trials."""

from collections.abc import Sequence

from pydantic import JsonValue

from rolldock.exports.harbor import agent_config, export_id, job_name, pretty, trial_name
from rolldock.exports.tree import Tree
from rolldock.models.base import JsonObject
from rolldock.models.result import RolloutResult, Status


def add_job(tree: Tree, results: Sequence[RolloutResult]) -> None:
    """Put the two documents of a job into the tree; the results are all of one experiment."""
    place = job_name(results[0])
    tree.add(f"{place}/config.json", pretty(_config(results)))
    tree.add(f"{place}/result.json", pretty(_result(results)))


def _config(results: Sequence[RolloutResult]) -> JsonObject:
    agents = {
        (result.agent, result.spec.endpoint): {
            key: value
            for key, value in agent_config(result).items()
            if key in ("name", "model_name")
        }
        for result in results
    }
    tasks = sorted({result.spec.task.name for result in results})
    return {
        "job_name": job_name(results[0]),
        "jobs_dir": ".",
        "agents": [agents[key] for key in sorted(agents, key=str)],
        "datasets": [{"path": f"tasks/{job_name(results[0])}", "task_names": [*tasks]}],
        "environment": {"type": "prime"},
    }


def _result(results: Sequence[RolloutResult]) -> JsonObject:
    ended = max(result.ended_at for result in results).isoformat()
    return {
        "id": export_id(f"job {results[0].experiment}"),
        "started_at": min(result.started_at for result in results).isoformat(),
        "updated_at": ended,
        "finished_at": ended,
        "n_total_trials": len(results),
        "stats": _stats(results),
    }


def _stats(results: Sequence[RolloutResult]) -> JsonObject:
    by_key: dict[str, list[RolloutResult]] = {}
    for result in results:
        named = (result.agent, result.spec.endpoint, result.experiment)
        by_key.setdefault("__".join(word for word in named if word), []).append(result)
    traces = [result.trace for result in results if result.trace is not None]
    return {
        "n_completed_trials": len(results),
        "n_errored_trials": sum(result.status is not Status.COMPLETED for result in results),
        "n_cancelled_trials": sum(result.status is Status.CANCELLED for result in results),
        "n_retries": sum(max(0, len(result.attempts) - 1) for result in results),
        "evals": {key: _eval(by_key[key]) for key in sorted(by_key)},
        "n_input_tokens": sum(trace.input_tokens for trace in traces),
        "n_output_tokens": sum(trace.output_tokens for trace in traces),
    }


def _eval(results: Sequence[RolloutResult]) -> JsonObject:
    graded = [result for result in results if result.status is Status.COMPLETED]
    rewards: dict[str, dict[str, list[str]]] = {}
    exceptions: dict[str, list[str]] = {}
    for result in results:
        for key, value in result.rewards.items():
            rewards.setdefault(key, {}).setdefault(f"{value:g}", []).append(trial_name(result))
        if result.status is Status.CANCELLED:
            exceptions.setdefault("CancelledError", []).append(trial_name(result))
        elif result.failure is not None:
            exceptions.setdefault(str(result.failure.cause), []).append(trial_name(result))
    values = [result.reward for result in graded if result.reward is not None]
    mean: list[JsonValue] = [{"mean": sum(values) / len(values)}] if values else []
    return {
        "n_trials": len(graded),
        "n_errors": len(results) - len(graded),
        "metrics": mean,
        "reward_stats": _json(rewards),
        "exception_stats": _json(exceptions),
    }


def _json(found: dict[str, list[str]] | dict[str, dict[str, list[str]]]) -> JsonObject:
    return {
        key: [*value] if isinstance(value, list) else _json(value) for key, value in found.items()
    }
