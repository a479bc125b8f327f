"""One rollout as a page shows it: the record, and what is read for it beside the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rolldock.models.result import Artifact, AttemptResult, RolloutResult
from rolldock.view.library import Library
from rolldock.view.messages import pretty
from rolldock.view.timeline import Timeline, timeline

_VERIFIER: Final = "verifier/"
_MAX_INLINE_BYTES: Final = 256 * 1024
"""A larger file is a link."""
_MAX_INLINE_FILES: Final = 6
_PROBED_BYTES: Final = 8192


@dataclass(frozen=True)
class InlineFile:
    """A file whose text stands on the page."""

    artifact: Artifact
    text: str


@dataclass(frozen=True)
class RolloutShown:
    """A rollout with a result."""

    result: RolloutResult
    timeline: Timeline
    verifier: Sequence[InlineFile]
    """What the tests of the last attempt wrote."""
    logs: Mapping[int, Sequence[InlineFile]]
    """By attempt, further files whose text is shown: only in an export."""
    replays: Sequence[str]
    spec: str
    """As JSON."""

    @property
    def last(self) -> AttemptResult | None:
        """The attempt that the result is of."""
        return self.result.attempts[-1] if self.result.attempts else None


async def show_rollout(
    library: Library, result: RolloutResult, *, with_logs: bool = False
) -> RolloutShown:
    """Read what a rollout's page needs; its traces are not among it."""
    last = result.attempts[-1] if result.attempts else None
    of_tests = [one for one in (last.artifacts if last else ()) if one.name.startswith(_VERIFIER)]
    logs: dict[int, Sequence[InlineFile]] = {}
    for attempt in result.attempts if with_logs else ():
        others = [one for one in attempt.artifacts if one not in of_tests]
        logs[attempt.number] = await _inline(library, others)
    return RolloutShown(
        result=result,
        timeline=timeline(result.started_at, result.attempts),
        verifier=await _inline(library, of_tests[:_MAX_INLINE_FILES]),
        logs=logs,
        replays=await library.replays(result.rollout),
        spec=pretty(result.spec.model_dump(mode="json")),
    )


def text_of(content: bytes) -> str | None:
    """A file's text; None: it is no text."""
    if b"\0" in content[:_PROBED_BYTES]:
        return None
    return content.decode(errors="replace")


async def _inline(library: Library, artifacts: Sequence[Artifact]) -> list[InlineFile]:
    shown: list[InlineFile] = []
    for artifact in artifacts:
        if artifact.n_bytes > _MAX_INLINE_BYTES:
            continue
        content = await library.blob(artifact.digest)
        text = None if content is None else text_of(content)
        if text is not None:
            shown.append(InlineFile(artifact, text))
    return shown
