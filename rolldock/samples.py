"""From the turns of a trace to the sequences that a trainer trains on.

A sample is a path along `extends`, from a turn that extends none to one that no turn extends. A
turn that stands in several paths trains in the one that ends first by slot number, and is context
in the others. A turn that was replayed never trains, and no path ends in it: what a fork trains on
begins with its first live turn. Whether a rollout should be trained on at all is decided in
`rolldock/results.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from rolldock.chains import TokenChains
from rolldock.models.spec import Auxiliary
from rolldock.models.trace import Sample, Span, Trace
from rolldock.models.turn import TokenSource, Turn
from rolldock.trainable import disagreements, temperature

IsAuxiliary: TypeAlias = Callable[[Turn], bool]


class _Step(NamedTuple):
    slot: int
    trains: bool


def samples(
    trace: Trace,
    *,
    is_auxiliary: IsAuxiliary | None = None,
    auxiliary: Auxiliary | None = None,
) -> list[Sample]:
    """The samples of a trace, in the order of the turns that they end with.

    Every sampled token of a turn that trains has mask 1 in exactly one sample. Turns without ids
    give none; a turn whose ids, log-probs and usage disagree does not train, and `disagreements`
    says which and why. A path in which nothing would train is no sample.

    Args:
        is_auxiliary: which turns stand beside the conversation; None: those that the trace names.
        auxiliary: what becomes of those; None: what the trace says.

    Raises:
        BrokenChainError: a turn extends one that is not there.
    """
    chains = TokenChains(trace.turns)
    by_slot = {turn.slot: turn for turn in trace.turns}
    roles = _roles(chains, is_auxiliary or _named(trace), auxiliary or trace.auxiliary_policy)
    return [_sample(path, by_slot, chains) for path in _paths(chains, roles)]


def count_samples(trace: Trace, chains: TokenChains) -> int:
    """How many samples a trace gives, without building them; `chains`: of its turns."""
    return len(_paths(chains, _roles(chains, _named(trace), trace.auxiliary_policy)))


def _named(trace: Trace) -> IsAuxiliary:
    return lambda turn: turn.slot in trace.auxiliary


def _roles(
    chains: TokenChains, is_auxiliary: IsAuxiliary, auxiliary: Auxiliary
) -> dict[int, Auxiliary]:
    """What becomes of each turn with tokens; one that was replayed, or that disagrees with itself,
    is dropped."""
    unusable = disagreements(chains)
    roles: dict[int, Auxiliary] = {}
    for turn in chains.turns:
        if turn.replayed is not None or turn.slot in unusable:
            roles[turn.slot] = Auxiliary.DROP
        elif turn.slot in chains:
            roles[turn.slot] = auxiliary if is_auxiliary(turn) else Auxiliary.TRAIN
    return roles


def _paths(chains: TokenChains, roles: dict[int, Auxiliary]) -> list[list[_Step]]:
    """The paths in which something trains, in the order of their last turns."""
    kept = [slot for slot in chains if roles[slot] is not Auxiliary.DROP]
    extended = {slot for end in kept for slot in chains.chain(end)[:-1]}
    trained: set[int] = set()
    paths: list[list[_Step]] = []
    for end in sorted(slot for slot in kept if slot not in extended):
        path = [
            _Step(slot, roles[slot] is Auxiliary.TRAIN and slot not in trained)
            for slot in chains.chain(end)
        ]
        trained.update(step.slot for step in path if step.trains)
        if any(step.trains and chains.tokens(step.slot).completion_ids for step in path):
            paths.append(path)
    return paths


def _sample(path: Sequence[_Step], by_slot: dict[int, Turn], chains: TokenChains) -> Sample:
    token_ids: list[int] = []
    mask: list[int] = []
    logprobs: list[float] = []
    spans: list[Span] = []
    for slot, trains in path:
        tokens = chains.tokens(slot)
        n_prompt, n_completion = len(tokens.prompt_ids), len(tokens.completion_ids)
        token_ids += (*tokens.prompt_ids, *tokens.completion_ids)
        mask += [0] * n_prompt + [int(trains)] * n_completion
        logprobs += [0.0] * n_prompt
        logprobs += tokens.logprobs if trains else [0.0] * n_completion
        end = len(token_ids)
        spans.append(_span(by_slot[slot], tokens.source, (end - n_completion, end), trains))
    return Sample(
        token_ids=tuple(token_ids),
        mask=tuple(mask),
        logprobs=tuple(logprobs),
        spans=tuple(spans),
        policy_versions=_policy_versions(spans),
    )


def _span(turn: Turn, source: TokenSource, place: tuple[int, int], trains: bool) -> Span:
    return Span(
        slot=turn.slot,
        start=place[0],
        end=place[1],
        trains=trains,
        source=source,
        temperature=temperature(turn),
        policy_version_start=turn.policy_version_start,
        policy_version_end=turn.policy_version_end,
    )


def _policy_versions(spans: Iterable[Span]) -> tuple[str, ...]:
    found = (
        version
        for span in spans
        if span.trains
        for version in (span.policy_version_start, span.policy_version_end)
        if version is not None
    )
    return tuple(dict.fromkeys(found))
