"""Samples: exactly the tokens that the engine gave, each sampled one trained exactly once."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rolldock.chains import BrokenChainError, TokenChains
from rolldock.models.spec import Auxiliary
from rolldock.models.trace import Sample
from rolldock.models.turn import Tokens, TokenSource, Turn
from rolldock.samples import count_samples, samples
from rolldock.trainable import disagreements
from tests.recording import OpenCall, Recording, make_trace, make_turn

FEW_IDS = st.integers(min_value=0, max_value=2)
"""So few that sequences are often equal, or prefixes of each other, by chance."""


@dataclass(frozen=True)
class Step:
    """One call of a random session."""

    after: int
    """Which of the answered turns it continues; 0: none."""
    news: list[int]
    completion: list[int]
    drift: int | None
    """Where the earlier tokens come out otherwise this time."""
    n_logprobs_left_out: int | None
    n_miscounted: int
    answers: Literal["now", "later", "newest first"]
    """When this call and those that are still open get their answers."""


def mostly(usual: int, *others: int | None) -> st.SearchStrategy[int | None]:
    """A value that is seldom another."""
    return st.sampled_from([*[usual] * 6, *others])


STEPS = st.lists(
    st.builds(
        Step,
        after=st.integers(min_value=0, max_value=8),
        news=st.lists(FEW_IDS, max_size=3),
        completion=st.lists(FEW_IDS, max_size=3),
        drift=st.none() | st.none() | st.integers(min_value=0, max_value=20),
        n_logprobs_left_out=mostly(0, 1, None),
        n_miscounted=mostly(0, 1),
        answers=st.sampled_from(["now", "now", "later", "newest first"]),
    ),
    max_size=14,
)


def drifted(ids: tuple[int, ...], at: int | None) -> tuple[int, ...]:
    """The ids as another tokenisation of their text might be."""
    if at is None or not ids:
        return ids
    at %= len(ids)
    return (*ids[:at], ids[at] + 1, *ids[at + 2 :])


def play(steps: Iterable[Step]) -> Recording:
    """Record a session of such calls, some of them open at the same time."""
    recording, waiting = Recording(), list[tuple[OpenCall, Step]]()

    def answer_all() -> None:
        for call, step in waiting:
            recording.answer(
                call,
                step.completion,
                n_logprobs_left_out=step.n_logprobs_left_out,
                n_miscounted=step.n_miscounted,
            )
        waiting.clear()

    for step in steps:
        answered = [None, *recording.turns]
        after = answered[step.after % len(answered)]
        before = drifted(recording.sequence(after), step.drift)
        waiting.append((recording.ask(after, (*before, *step.news)), step))
        if step.answers == "newest first":
            waiting.reverse()
        if step.answers != "later":
            answer_all()
    answer_all()
    return recording


def check_sample(sample: Sample, recording: Recording) -> None:
    """Every turn's whole prompt and completion stand at their place; nothing else is there."""
    mask, logprobs = [0] * len(sample.token_ids), [0.0] * len(sample.token_ids)
    for span in sample.spans:
        engine = recording.given[span.slot]
        assert sample.token_ids[: span.start] == engine.prompt_ids
        assert sample.token_ids[span.start : span.end] == engine.completion_ids
        if span.trains:
            mask[span.start : span.end] = [1] * len(engine.completion_ids)
            logprobs[span.start : span.end] = engine.logprobs
    assert sample.spans[-1].end == len(sample.token_ids)
    assert (list(sample.mask), list(sample.logprobs)) == (mask, logprobs)
    assert 1 in mask


def trained(found: Iterable[Sample]) -> Counter[float]:
    """The log-probs at which something trains: each stands for one sampled token."""
    return Counter(
        logprob
        for sample in found
        for bit, logprob in zip(sample.mask, sample.logprobs, strict=True)
        if bit
    )


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_tokens_are_the_engines_and_each_trains_once(steps: list[Step]) -> None:
    """Whatever tree of calls was recorded: none is lost, none trains twice, none is invented."""
    recording = play(steps)
    trace = recording.trace
    found = samples(trace)
    for sample in found:
        check_sample(sample, recording)
    unusable = disagreements(TokenChains(trace.turns))
    usable = [
        turn.slot for turn in trace.turns if turn.tokens is not None and turn.slot not in unusable
    ]
    miscounted = {slot for slot, step in enumerate(steps) if step.n_miscounted}
    assert set(unusable) == {
        slot for slot in miscounted if recording.turns[slot].tokens is not None
    }
    assert trained(found) == Counter(
        logprob for slot in usable for logprob in recording.given[slot].logprobs
    )
    assert count_samples(trace, TokenChains(trace.turns)) == len(found)


@given(st.lists(st.tuples(st.lists(FEW_IDS), st.lists(FEW_IDS, min_size=1)), min_size=1))
@settings(deadline=None)
def test_what_only_appends_is_one_sample(calls: list[tuple[list[int], list[int]]]) -> None:
    """A conversation whose tokens are never written otherwise is one sequence."""
    recording, last = Recording(), None
    for news, completion in calls:
        last = recording.say(last, news, completion).slot
    [sample] = samples(recording.trace)
    check_sample(sample, recording)
    assert [span.slot for span in sample.spans] == list(range(len(calls)))
    assert all(span.trains for span in sample.spans)


def test_a_shared_turn_trains_in_the_sample_that_ends_first() -> None:
    """Of two turns after one, the earlier one's sample trains it; the other has it as context."""
    recording = Recording()
    recording.say(None, [1], [2])
    recording.say(0, [3], [4])
    recording.say(0, [5], [6])
    first, second = samples(recording.trace)
    assert (first.token_ids, first.mask) == ((1, 2, 3, 4), (0, 1, 0, 1))
    assert (second.token_ids, second.mask) == ((1, 2, 5, 6), (0, 0, 0, 1))
    assert first.logprobs[1] < 0
    assert second.logprobs[1] == 0
    assert [(span.slot, span.trains) for span in second.spans] == [(0, False), (2, True)]


def test_the_same_reply_twice_trains_twice() -> None:
    """Two calls that sampled the same tokens are two samples: neither extends the other."""
    recording = Recording()
    for _ in range(2):
        recording.say(None, [1], [2])
    assert [sample.token_ids for sample in samples(recording.trace)] == [(1, 2), (1, 2)]


def test_turns_without_ids_give_no_sample() -> None:
    """A model server without ids leaves nothing to train on, and no error."""
    recording = Recording()
    recording.answer(recording.ask(None, (1, 2)), [3], n_logprobs_left_out=None)
    assert samples(recording.trace) == []


def test_a_turn_that_disagrees_is_only_a_prompt() -> None:
    """Its tokens do not train; a later turn that was given them as its prompt does."""
    recording = Recording()
    recording.answer(recording.ask(None, (1,)), [2, 3], n_miscounted=1)
    assert samples(recording.trace) == []
    assert disagreements(TokenChains(recording.trace.turns)) == {
        0: "2 completion ids, 3 in its usage"
    }
    recording.say(0, [4], [5])
    [sample] = samples(recording.trace)
    assert (sample.token_ids, sample.mask) == ((1, 2, 3, 4, 5), (0, 0, 0, 0, 1))


def with_title_calls() -> Recording:
    """Two turns; a call beside the conversation at its end, one before, and one that is a root."""
    recording = Recording()
    recording.say(None, [1], [2])
    recording.say(0, [90], [91])
    recording.say(1, [3], [4])
    recording.say(2, [92], [93])
    recording.say(None, [94], [95])
    return recording


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            Auxiliary.TRAIN,
            [([1, 2, 90, 91, 3, 4, 92, 93], [0, 1, 0, 1, 0, 1, 0, 1]), ([94, 95], [0, 1])],
        ),
        (Auxiliary.CONTEXT, [([1, 2, 90, 91, 3, 4, 92, 93], [0, 1, 0, 0, 0, 1, 0, 0])]),
        (Auxiliary.DROP, [([1, 2, 90, 91, 3, 4], [0, 1, 0, 0, 0, 1])]),
    ],
)
def test_auxiliary_calls(policy: Auxiliary, expected: list[tuple[list[int], list[int]]]) -> None:
    """They train, stay as context, or are cut where nothing that is kept builds on them."""

    def is_auxiliary(turn: Turn) -> bool:
        return turn.slot in (1, 3, 4)

    found = samples(with_title_calls().trace, is_auxiliary=is_auxiliary, auxiliary=policy)
    assert [(list(sample.token_ids), list(sample.mask)) for sample in found] == expected


def test_what_each_turn_was_sampled_with() -> None:
    """Versions and temperature stand by turn; a turn that spans an update counts with both."""
    recording = Recording()
    versions = (("3", "3"), ("3", "4"), (None, None))
    last = None
    for start, end in versions:
        last = recording.say(last, [1], policy_version_start=start, policy_version_end=end).slot
    recording.say(0, [2], policy_version_start="5", policy_version_end="5")
    first, second = samples(recording.trace)
    assert (first.policy_versions, second.policy_versions) == (("3", "4"), ("5",))
    spans = [(span.policy_version_start, span.policy_version_end) for span in first.spans]
    assert spans == list(versions)
    assert {(span.temperature, span.source) for span in first.spans} == {(1.0, TokenSource.ENGINE)}


def extending(extends: int) -> Tokens:
    """Tokens that follow those of a turn."""
    return Tokens(source=TokenSource.ENGINE, extends=extends, completion_ids=(1,), logprobs=(-1,))


@pytest.mark.parametrize(
    "turns",
    [
        [make_turn(0, extending(5))],
        [make_turn(0, None), make_turn(1, extending(0))],
        [make_turn(0, extending(1)), make_turn(1, extending(0))],
        [make_turn(0, extending(0))],
    ],
)
def test_a_damaged_trace_is_named(turns: Sequence[Turn]) -> None:
    """A turn that builds on what is not there, or on itself, gives an error and no tokens."""
    with pytest.raises(BrokenChainError, match="this trace is damaged"):
        samples(make_trace(turns))


def test_a_sample_whose_parts_differ_in_length_cannot_be_made() -> None:
    """Whoever makes one, by hand or from a file."""
    with pytest.raises(ValidationError, match="disagree in length"):
        Sample(token_ids=(1, 2), mask=(0, 1), logprobs=(0.0,), spans=())


def test_a_long_trace_is_read_at_once() -> None:
    """100 turns with 64k tokens become one sample in well under a second."""
    recording, last = Recording(), None
    for _ in range(100):
        last = recording.say(last, range(320), range(335)).slot
    trace = recording.trace
    started = time.perf_counter()
    [sample] = samples(trace)
    assert time.perf_counter() - started < 1
    assert (len(sample.token_ids), sum(sample.mask)) == (65_500, 33_500)
