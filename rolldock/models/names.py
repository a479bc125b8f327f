"""Names that outlive a process: workflows, signals, queues, search attributes, labels.

They are in running histories, in the Temporal UI and at the sandbox provider. Changing one needs a
patch, not an edit.
"""

from typing import Final

ROLLOUT_WORKFLOW: Final = "Rollout"
REAPER_WORKFLOW: Final = "Reaper"
REAPER_SCHEDULE: Final = "rolldock-reaper"
SWEEP_ACTIVITY: Final = "sweep"
STOP_SIGNAL: Final = "stop"

ROLLOUT_QUEUE: Final = "rolldock-rollouts"
SANDBOX_QUEUE: Final = "rolldock-sandboxes"
"""Creates alone: the server rate-limits this queue over all workers."""

# Search attributes, all Keyword: SQL visibility has ten columns of that type for a namespace.
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

SEARCH_ATTRIBUTES: Final = (
    ATTRIBUTE_EXPERIMENT,
    ATTRIBUTE_GROUP,
    ATTRIBUTE_TASK,
    ATTRIBUTE_AGENT,
    ATTRIBUTE_ENDPOINT,
    ATTRIBUTE_STAGE,
    ATTRIBUTE_OUTCOME,
    ATTRIBUTE_CLEANUP,
)

NO_OUTCOME: Final = "none"
"""The outcome of a rollout whose result could not be written."""

MEMO_SPEC_DIGEST: Final = "spec_digest"

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
