"""The scenes that every agent is put into: what is set up, and what has to come of it.

The model is always the scripted one; which conversation it plays depends on the name of the model,
which each endpoint has as its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rolldock.models.result import StopReason
from rolldock.models.spec import Purpose, Sampling
from tests.e2e.runs import HELLO, LONG_WAIT, TASKS

KEYS_OF_ITS_OWN: Final = TASKS / "keys-of-its-own"
"""Its environment has keys and addresses of other model servers, which no agent may use."""

FORMATS: Final = ("anthropic.messages", "openai.responses")
"""What the scripted server speaks beside chat completions."""

FLAKY: Final = "matrix-flaky"
"""The endpoint whose server refuses two calls in the middle."""

ENDPOINTS: Final = {
    "matrix": "scripted",
    "matrix-wrong": "wrong",
    "matrix-failing": "failing",
}
"""Endpoints in every wire format, with their model's name."""

CHAT_ONLY: Final = "matrix-chat"


@dataclass(frozen=True)
class Scene:
    """One rollout of an agent, and how it has to end."""

    endpoint: str = "matrix"
    task: Path = HELLO
    purpose: Purpose = Purpose.EVAL
    sampling: Sampling = field(default_factory=Sampling)
    limits: Mapping[str, float | int | None] = field(default_factory=dict[str, float])
    reward: float = 1.0
    stop_reason: StopReason = StopReason.AGENT_COMPLETED
    n_turns: int | None = None
    """None: as many as the agent takes, two at least."""


SCENES: Final = {
    "solved": Scene(),
    "task with keys": Scene(task=KEYS_OF_ITS_OWN),
    "failed": Scene(endpoint="matrix-wrong", reward=0.0),
    "budget reached": Scene(limits={"max_turns": 2}, stop_reason=StopReason.MAX_TURNS, n_turns=2),
    "model error, lasting": Scene(
        endpoint="matrix-failing", stop_reason=StopReason.AGENT_ERROR, n_turns=1
    ),
    "model error, passing": Scene(endpoint=FLAKY),
    "chat only, to train": Scene(
        endpoint=CHAT_ONLY, purpose=Purpose.TRAIN, sampling=Sampling(temperature=1.0)
    ),
}
"""Those that need nobody to intervene. In the budget's, the second call comes only after the
command of the first has ended, so that the task is solved by then."""

KILLED: Final = "worker killed"
WAITING: Final = Scene(task=LONG_WAIT)
