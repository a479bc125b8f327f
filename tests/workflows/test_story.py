"""Words of tasks, agents and providers in the Temporal UI: bounded, and never Markdown."""

import pytest

from rolldock.models.result import AttemptResult, RolloutResult, Status, StopReason
from rolldock.models.spec import AgentRef, RolloutSpec, TaskRef
from rolldock.models.stages import Order
from tests.recording import NOW
from workflows import story

TASK = TaskRef(name="名" * 200, digest="0" * 64)
ORDER = Order(
    rollout="r",
    run="run",
    attempt="a",
    number=1,
    spec=RolloutSpec(id="r", task=TASK, agent=AgentRef(name="bash")),
    spec_digest="0" * 64,
    deadline=NOW,
)


@pytest.mark.parametrize("summary", [story.set_up(ORDER), story.grade(ORDER)])
def test_a_summary_fits(summary: str) -> None:
    """Temporal refuses a summary of more than 400 bytes, and with it the workflow task."""
    assert 300 < len(summary.encode()) <= 400


def test_what_others_wrote_is_no_markup() -> None:
    """Links, images, HTML, emphasis and new paragraphs are shown as they were written."""
    said = story.plain_words("![x](http://e/i.png)\n\n# <img src=x> **b** `c` [l](u) a_b")
    assert said == (r"\!\[x\]\(http\://e/i.png\) \# \<img src=x\> \*\*b\*\* \`c\` \[l\]\(u\) a\_b")


def test_a_verdict_is_one_sentence() -> None:
    """A graded rollout's close says reward, reason and turns."""
    attempt = AttemptResult(
        attempt="a", number=1, stage="grade", stop_reason=StopReason.MAX_TURNS, started_at=NOW
    )
    result = RolloutResult(
        rollout="r",
        run="run",
        experiment="e",
        spec=ORDER.spec,
        spec_digest="0" * 64,
        task_digest="0" * 64,
        agent="bash",
        status=Status.COMPLETED,
        stop_reason=StopReason.MAX_TURNS,
        reward=0.5,
        attempts=(attempt,),
        started_at=NOW,
        ended_at=NOW,
    )
    assert story.verdict(result) == "reward 0.5, max_turns, 0 turns"
