"""Samples of rollouts that replayed some of their turns: those are context, and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rolldock.chains import TokenChains
from rolldock.models.replay import Replayed
from rolldock.models.trace import Trace
from rolldock.samples import count_samples, samples
from rolldock.trainable import REPLAYED, disagreements, untrainable
from tests.recording import Recording
from tests.test_samples import STEPS, Step, check_sample, play, trained


def replaying(recording: Recording, slots: set[int]) -> Trace:
    """The trace of a session in which these turns were replayed."""
    origin = Replayed(attempt="origin", slot=0)
    for slot in slots & recording.turns.keys():
        turn = recording.turns[slot]
        recording.turns[slot] = turn.model_copy(update={"replayed": origin})
    return recording.trace


@given(STEPS, st.sets(st.integers(min_value=0, max_value=13)))
@settings(max_examples=300, deadline=None)
def test_only_live_turns_train(steps: list[Step], slots: set[int]) -> None:
    """Whatever was replayed: each live turn trains exactly once, a replayed one nowhere, no sample
    ends in one, and every token that a live turn was given stands before it."""
    recording = play(steps)
    trace = replaying(recording, slots)
    found = samples(trace)
    for sample in found:
        check_sample(sample, recording)
        assert sample.spans[-1].slot not in slots
        assert not any(span.trains for span in sample.spans if span.slot in slots)
    unusable = disagreements(TokenChains(trace.turns))
    live = [
        turn.slot
        for turn in trace.turns
        if turn.tokens is not None and turn.slot not in unusable and turn.slot not in slots
    ]
    assert trained(found) == {
        logprob: 1 for slot in live for logprob in recording.given[slot].logprobs
    }
    assert count_samples(trace, TokenChains(trace.turns)) == len(found)


def test_a_fork_is_one_sample_whose_prefix_is_context() -> None:
    """Two replayed turns, two live ones that extend them: one sequence, masked up to the first
    live turn's completion."""
    recording = Recording()
    last = None
    for number in range(4):
        last = recording.say(last, [10 + number], [20 + number]).slot
    [sample] = samples(replaying(recording, {0, 1}))
    assert sample.token_ids == (10, 20, 11, 21, 12, 22, 13, 23)
    assert sample.mask == (0, 0, 0, 0, 0, 1, 0, 1)
    assert sample.logprobs[:5] == (0.0,) * 5
    assert [span.slot for span in sample.spans if span.trains] == [2, 3]


def test_a_pure_recording_trains_nothing_and_says_why() -> None:
    """No sample, and a reason that names the replay rather than its tokens."""
    recording = Recording()
    recording.say(None, [1], [2])
    trace = replaying(recording, {0})
    assert samples(trace) == []
    assert untrainable(TokenChains(trace.turns)) == REPLAYED


def test_of_a_fork_only_live_turns_are_judged() -> None:
    """A prefix without a temperature, or with another, is no reason against the live turns."""
    recording = Recording()
    recording.say(None, [1], [2], sampling={})
    recording.say(0, [3], [4], sampling={"temperature": 1})
    assert untrainable(TokenChains(replaying(recording, {0}).turns)) is None
    assert untrainable(TokenChains(replaying(recording, {0, 1}).turns)) == REPLAYED
