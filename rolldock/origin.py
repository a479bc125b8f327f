"""Where a rollout comes from, in words: for summaries, live details and lists."""

from rolldock.models.replay import ReplayFrom
from rolldock.models.spec import RolloutSpec


def origin(spec: RolloutSpec) -> str | None:
    """What a rollout replays, e.g. `replay of grpo-7/12/hello/0 from start`; None: nothing."""
    if spec.replay_of is None:
        return None
    words = f"replay of {spec.replay_of}"
    if spec.replay is None:
        return words
    if spec.replay.kind is ReplayFrom.TURN:
        return f"{words}, live after slot {spec.replay.turn}"
    return f"{words} from {spec.replay.kind}"
