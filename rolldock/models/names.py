"""Names that outlive a process: workflows, signals, queues, search attributes, labels.

They are in running histories, in the Temporal UI and at the sandbox provider. Changing one needs a
patch, not an edit.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

ROLLOUT_WORKFLOW: Final = "Rollout"
REAPER_WORKFLOW: Final = "Reaper"
REAPER_SCHEDULE: Final = "rolldock-reaper"
SWEEP_ACTIVITY: Final = "sweep"
STOP_SIGNAL: Final = "stop"

ROLLOUT_QUEUE: Final = "rolldock-rollouts"
SANDBOX_QUEUE: Final = "rolldock-sandboxes"
"""Creates alone: the server rate-limits this queue over all workers."""


class AttributeType(StrEnum):
    """A search attribute's type, as Temporal names it."""

    KEYWORD = "Keyword"
    KEYWORD_LIST = "KeywordList"


# Search attributes. SQL visibility has ten columns of type Keyword for a namespace, of which these
# take eight, and three of type KeywordList.
ATTRIBUTE_EXPERIMENT: Final = "RolldockExperiment"
ATTRIBUTE_GROUP: Final = "RolldockGroup"
ATTRIBUTE_TASK: Final = "RolldockTask"
ATTRIBUTE_AGENT: Final = "RolldockAgent"
ATTRIBUTE_ENDPOINT: Final = "RolldockEndpoint"
ATTRIBUTE_STAGE: Final = "RolldockStage"
ATTRIBUTE_OUTCOME: Final = "RolldockOutcome"
"""The stop reason of a graded rollout, the cause of a failed one, or `cancelled`."""
ATTRIBUTE_CLEANUP: Final = "RolldockCleanup"
"""`clean` once the last sandbox is known to be gone, `leaked` where it could not be deleted."""

ATTRIBUTE_REPLAY_OF: Final = "RolldockReplayOf"
"""Of a replay: the rollout that it replays, the one that this one replays, and so on; the oldest
last."""

SEARCH_ATTRIBUTES: Final[Mapping[str, AttributeType]] = {
    ATTRIBUTE_EXPERIMENT: AttributeType.KEYWORD,
    ATTRIBUTE_GROUP: AttributeType.KEYWORD,
    ATTRIBUTE_TASK: AttributeType.KEYWORD,
    ATTRIBUTE_AGENT: AttributeType.KEYWORD,
    ATTRIBUTE_ENDPOINT: AttributeType.KEYWORD,
    ATTRIBUTE_STAGE: AttributeType.KEYWORD,
    ATTRIBUTE_OUTCOME: AttributeType.KEYWORD,
    ATTRIBUTE_CLEANUP: AttributeType.KEYWORD,
    ATTRIBUTE_REPLAY_OF: AttributeType.KEYWORD_LIST,
}

NO_OUTCOME: Final = "none"
"""The outcome of a rollout whose result could not be written."""

MEMO_SPEC_DIGEST: Final = "spec_digest"
MEMO_REPLAY_OF: Final = "replay_of"
MEMO_REPLAY_FROM: Final = "replay_from"
"""`start`, `grade`, `recording` or `turn`."""

DETAIL_REFUSED: Final = "refused"
"""A detail of a create's failure: it is certain that no request took effect."""

# Headers of every call to a model server: routers may keep a session on one replica by them.
SESSION_HEADER: Final = "X-Rolldock-Session"
SLOT_HEADER: Final = "X-Rolldock-Slot"

# Labels by which a sandbox proves whose it is.
LABEL_DEPLOYMENT: Final = "rolldock-deployment:"
LABEL_ROLLOUT: Final = "rolldock-rollout:"
LABEL_RUN: Final = "rolldock-run:"
LABEL_ATTEMPT: Final = "rolldock-attempt:"
