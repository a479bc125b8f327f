"""Transitions: whether a turn's tokens go on where its parent's ended."""

import time

from hypothesis import given, settings

from rolldock.chains import TokenChains
from rolldock.models.trace import Transition
from rolldock.transitions import transitions
from tests.recording import Recording
from tests.test_samples import STEPS, Step, play


def missed(recording: Recording, slot: int, parent: int) -> int:
    """The drift, counted one by one over whole sequences."""
    prompt, sequence = recording.given[slot].prompt_ids, recording.sequence(parent)
    for n, token in enumerate(sequence):
        if n == len(prompt) or prompt[n] != token:
            return len(sequence) - n
    return 0


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_drift_is_what_the_prompt_misses_of_its_parent(steps: list[Step]) -> None:
    """In any tree of calls, and only where the ids of both turns are known."""
    recording = play(steps)
    assert transitions(TokenChains(recording.trace.turns)) == [
        Transition(
            slot=turn.slot,
            parent=turn.parent,
            drift_tokens=missed(recording, turn.slot, turn.parent),
        )
        for turn in recording.trace.turns
        if turn.parent is not None
        and turn.tokens is not None
        and recording.turns[turn.parent].tokens is not None
    ]


def test_a_reply_that_is_tokenised_again_otherwise() -> None:
    """Clean while tokens are appended; a fork misses the parent from where it differs."""
    recording = Recording()
    recording.say(None, [1, 2], [3, 4])
    recording.say(0, [5], [6])
    recording.answer(recording.ask(1, (1, 2, 3, 9, 5, 6, 7)), [8])
    drifts = [found.drift_tokens for found in transitions(TokenChains(recording.trace.turns))]
    assert drifts == [0, 3]


def test_a_prompt_that_only_its_reply_makes_whole_is_a_fork() -> None:
    """What the model sampled anew was not in its prompt, though the tokens be the parent's."""
    recording = Recording()
    recording.say(None, [1], [2, 3])
    recording.answer(recording.ask(0, (1,)), [2, 3])
    [found] = transitions(TokenChains(recording.trace.turns))
    assert found.drift_tokens == 2


def test_long_forks_are_compared_quickly() -> None:
    """20 forks at the end of 64k tokens cost no more than what they differ in."""
    recording = Recording()
    recording.say(None, range(64_000), range(100))
    for n in range(20):
        recording.answer(recording.ask(0, (*range(64_000), 5000 + n)), [1])
    chains = TokenChains(recording.trace.turns)
    started = time.perf_counter()
    found = transitions(chains)
    assert time.perf_counter() - started < 1
    assert {transition.drift_tokens for transition in found} == {100}
