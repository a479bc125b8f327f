"""Why a rollout has no reward: one closed enum of causes, and the record that names one.

What follows from a cause, drawn for a reader; what is retried is decided by the table `RETRIES` in
`rolldock/errors.py`, which a test holds against this one. `new attempt`: a fresh sandbox and a
fresh trace, up to the spec's limit. `graded`: the tests still run. A failed rollout never has a
reward, so nothing of it is trained on; what is graded is a result with a stop reason, not a
failure.

cause                 new attempt  graded  reward valid  trainable
sandbox_unavailable   yes          no      no            no     create failed or never ran
quota                 no (waits)   no      no            no     the live-sandbox limit never eased
sandbox_lost          yes          no      no            no     gone while in use
sandbox_oom           yes          no      no            no     killed for memory
sandbox_expired       yes          no      no            no     its own lifetime ended
setup_failed          yes          no      no            no     health check, upload or install
job_lost              yes          no      no            no     the agent died without an exit code
gateway_lost          yes          no      no            no     its last turn was never delivered
tunnel_lost           yes          no      no            no     the public URL was deregistered
verifier_failed       yes          tried   no            no     grading infrastructure broke
store_unavailable     yes          no      no            no     records could not be written
internal              yes          no      no            no     anything that has no name yet
no_model_call         no           no      no            no     an agent that never reached a model
reward_invalid        no           yes     no            no     reward file missing or unreadable
verifier_timeout      no           yes     no            no     test.sh ran past its limit
task_invalid          no           no      no            no     the bundle breaks the format
image_unavailable     no           no      no            no     image refused or not pullable
sandbox_refused       no           no      no            no     the provider cannot make such a one
unauthorized          no           no      no            no     the provider refused our key
payment_required      no           no      no            no     no credit at the provider
endpoint_invalid      no           no      no            no     endpoint missing or not decryptable
deadline_exceeded     no           no      no            no     the rollout's total seconds are over
replay_diverged       no           no      no            no     the agent asked other than recorded
replay_unavailable    no           no      no            no     recording, checkpoint: gone, damaged
cancelled             no           no      no            no     somebody asked for it
terminated            no           no      no            no     the workflow was ended from outside
"""

from enum import StrEnum
from typing import Annotated, TypeAlias

from pydantic import Field

from .base import Record


class Cause(StrEnum):
    """The closed list of causes; the module docstring draws what follows from each."""

    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    QUOTA = "quota"
    SANDBOX_LOST = "sandbox_lost"
    SANDBOX_OOM = "sandbox_oom"
    SANDBOX_EXPIRED = "sandbox_expired"
    SETUP_FAILED = "setup_failed"
    JOB_LOST = "job_lost"
    GATEWAY_LOST = "gateway_lost"
    TUNNEL_LOST = "tunnel_lost"
    VERIFIER_FAILED = "verifier_failed"
    STORE_UNAVAILABLE = "store_unavailable"
    INTERNAL = "internal"
    NO_MODEL_CALL = "no_model_call"
    REWARD_INVALID = "reward_invalid"
    VERIFIER_TIMEOUT = "verifier_timeout"
    TASK_INVALID = "task_invalid"
    IMAGE_UNAVAILABLE = "image_unavailable"
    SANDBOX_REFUSED = "sandbox_refused"
    UNAUTHORIZED = "unauthorized"
    PAYMENT_REQUIRED = "payment_required"
    ENDPOINT_INVALID = "endpoint_invalid"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    REPLAY_DIVERGED = "replay_diverged"
    REPLAY_UNAVAILABLE = "replay_unavailable"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"


CauseName: TypeAlias = Annotated[Cause | str, Field(union_mode="left_to_right")]
"""A cause, or the name of one that a later version wrote."""


class Failure(Record):
    """What went wrong, where, and whether another attempt could have helped."""

    stage: str
    """The stage's name, as in `Stage`."""
    cause: CauseName
    message: str
    """One or two sentences for a person; at most 2,000 characters."""
    retryable: bool
    """Whether the cause allows a new attempt."""
