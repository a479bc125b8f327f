"""Everything that the chaos suite can play, by name: blows, endings, troubles, the tunnel."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from rolldock.models.result import Stage
from tests.chaos.arena import Arena
from tests.chaos.cases import Case, Moment, all_cases, chosen, moments
from tests.chaos.endings import cancel, cancel_twice, stop, terminate
from tests.chaos.play import play
from tests.chaos.troubles import TROUBLES, suffer
from tests.chaos.tunnel_blows import TunnelBlow, strike_tunnel
from tests.chaos.verdict import Outcome

_TERMINATED_AT: Final = (
    (Stage.CREATE_SANDBOX, Moment.BEFORE),
    (Stage.CREATE_SANDBOX, Moment.DURING),
    (Stage.CREATE_SANDBOX, Moment.AFTER),
    (Stage.AWAIT_AGENT, Moment.DURING),
    (Stage.STOP_AGENT, Moment.BEFORE),
    (Stage.GRADE, Moment.AFTER),
    (Stage.SEAL_TRACE, Moment.BEFORE),
    (Stage.DELETE_SANDBOX, Moment.BEFORE),
)


class Scene(NamedTuple):
    """One thing to play."""

    name: str
    play: Callable[[Arena], Awaitable[Outcome]]
    case: Case | None = None
    """Of a blow: its place in the table."""
    tunnel: bool = False
    """Whether it is played in an arena behind a tunnel."""


def _blow(case: Case) -> Scene:
    return Scene(case.id, partial(play, case=case), case)


def _cancel(stage: Stage, moment: Moment) -> Scene:
    return Scene(f"cancel-{moment}-{stage}", partial(cancel, stage=stage, moment=moment))


def _terminate(stage: Stage, moment: Moment) -> Scene:
    return Scene(f"terminate-{moment}-{stage}", partial(terminate, stage=stage, moment=moment))


_TWICE: Final = Scene("cancel-twice", cancel_twice)
_STOP: Final = Scene("stop", stop)
_TROUBLES: Final = [
    Scene(name, partial(suffer, trouble=trouble)) for name, trouble in TROUBLES.items()
]
_TUNNEL: Final = [
    Scene(blow, partial(strike_tunnel, blow=blow), tunnel=True) for blow in TunnelBlow
]


def all_scenes() -> list[Scene]:
    """What `make chaos` plays."""
    return [
        *(_blow(case) for case in all_cases()),
        *(_cancel(stage, moment) for stage in Stage for moment in moments(stage)),
        *(_terminate(stage, moment) for stage, moment in _TERMINATED_AT),
        _TWICE,
        _STOP,
        *_TROUBLES,
        *_TUNNEL,
    ]


def chosen_scenes() -> list[Scene]:
    """What `make test-all` plays."""
    return [
        *(_blow(case) for case in chosen()),
        _cancel(Stage.AWAIT_AGENT, Moment.DURING),
        _terminate(Stage.STOP_AGENT, Moment.BEFORE),
        _TWICE,
        _STOP,
        *_TROUBLES,
        *_TUNNEL,
    ]
