"""Whether what a trace recorded can be trained on: its ids, and what its log-probs mean.

Effective sampling counts, as each turn was sent; what the spec asks for is not looked at here, nor
how the rollout ended (`rolldock/results.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from rolldock.chains import TokenChains
from rolldock.models.turn import Tokens, TokenSource, Turn

_PROCESSED: Final = "processed"
_BEFORE_SAMPLING: Final = frozenset({"raw", "unknown"})
"""Log-probs that are, or may be, those of the model before its sampling parameters."""

_NEUTRAL: Final[Mapping[str, tuple[JsonValue, ...]]] = {
    "temperature": (1,),
    "top_p": (1,),
    "top_k": (-1, 0),
    "min_p": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "allowed_token_ids": (),
    "bad_words": ([],),
    "min_tokens": (0,),
    "min_new_tokens": (0,),
    "typical_p": (1,),
    "top_n_sigma": (-1,),
    "repeat_penalty": (1,),
    "dynatemp_range": (0,),
    "mirostat": (0,),
    "dry_multiplier": (0,),
    "xtc_probability": (0,),
    "adaptive_target": (-1,),
}
"""What changes the sampled distribution, by the names of vLLM, SGLang and llama.cpp, with the
values at which it does not."""

_UNCONSTRAINED: Final[Mapping[str, tuple[JsonValue, ...]]] = {
    "grammar": ("",),
    "json_schema": (),
    "response_format": ({"type": "text"},),
    "tool_choice": ("auto", "none"),
}
"""What makes llama.cpp sample under a grammar, which its log-probs do not know of; vLLM's do."""

_PINNED_BY_SPEC: Final = frozenset({"temperature", "top_p", "top_k", "min_p"})
_VALUE_CHARACTERS: Final = 40

REPLAYED: Final = "its turns were replayed"
"""Why a rollout that asked no model trains nothing."""


def untrainable(chains: TokenChains) -> str | None:
    """Why these turns must not be trained on; None: their tokens and log-probs are sound.

    The first reason that is found, with the turn that it is found in. Replayed turns are context
    only: nothing is asked of them.
    """
    turns = [turn for turn in chains.turns if turn.replayed is None]
    if chains.turns and not turns:
        return REPLAYED
    if (without := _without_tokens(turns)) is not None:
        return without
    live, unsound = {turn.slot for turn in turns}, disagreements(chains)
    for slot, why in ((slot, why) for slot, why in unsound.items() if slot in live):
        return f"the tokens of turn {slot} do not agree: {why}"
    found = (_distorted(turn, turn.tokens) for turn in turns if turn.tokens is not None)
    return next((why for why in found if why is not None), None) or _unsteady(turns)


def disagreements(chains: TokenChains) -> dict[int, str]:
    """The turns whose ids, log-probs and usage differ in length, and how.

    A model server that counts nothing at all (usage 0 and 0) contradicts nothing.
    """
    found: dict[int, str] = {}
    for turn in chains.turns:
        if turn.tokens is not None:
            why = _disagreement(turn, turn.tokens, chains.prompt_length(turn.slot))
            if why is not None:
                found[turn.slot] = why
    return found


def temperature(turn: Turn) -> float | None:
    """The temperature that a turn was sent with; None: none, and the model server chose."""
    value = turn.sampling.get("temperature")
    return value if isinstance(value, int | float) else None


def _without_tokens(turns: Sequence[Turn]) -> str | None:
    """How many turns have no tokens, and why the first of them has none."""
    missing = [turn for turn in turns if turn.tokens is None]
    if not missing:
        return None
    first = missing[0]
    why = "" if first.tokens_missing is None else f": {first.tokens_missing}"
    if len(missing) == len(turns):
        return f"the model server gave no token ids{why}"
    return (
        f"{len(missing)} of {len(turns)} turns have no token ids that fit their log-probs, "
        f"the first is turn {first.slot}{why}"
    )


def _disagreement(turn: Turn, tokens: Tokens, n_prompt: int) -> str | None:
    n_completion, usage = len(tokens.completion_ids), turn.usage
    if n_completion != len(tokens.logprobs):
        return f"{n_completion} completion ids, {len(tokens.logprobs)} log-probs"
    if usage.input_tokens == usage.output_tokens == 0:
        return None
    if n_completion != usage.output_tokens:
        return f"{n_completion} completion ids, {usage.output_tokens} in its usage"
    if n_prompt != usage.input_tokens:
        return f"{n_prompt} prompt ids, {usage.input_tokens} in its usage"
    return None


def _distorted(turn: Turn, tokens: Tokens) -> str | None:
    """Why a turn's log-probs do not mean the distribution that it was sampled from."""
    asked_temperature = temperature(turn)
    if asked_temperature is None:
        return f"turn {turn.slot} was sent without a temperature: set sampling.temperature"
    if asked_temperature == 0:
        return f"turn {turn.slot} was sampled at temperature 0, where there is no distribution"
    if tokens.logprobs_mode == _PROCESSED:
        return None
    if tokens.logprobs_mode not in _BEFORE_SAMPLING:
        return f"turn {turn.slot} has log-probs of a mode not known here: {tokens.logprobs_mode!r}"
    asked = {**turn.sent.fields, **turn.sampling}
    constrained = _UNCONSTRAINED if tokens.source is TokenSource.DERIVED else {}
    for key, neutral in (*_NEUTRAL.items(), *constrained.items()):
        value = asked.get(key)
        if value is not None and value not in neutral:
            return (
                f"turn {turn.slot} was sampled with {key} = {_short(value)}, which log-probs of "
                f"mode {tokens.logprobs_mode!r} do not reflect: {_mend(key, neutral)}"
            )
    return None


def _unsteady(turns: Sequence[Turn]) -> str | None:
    asked = {temperature(turn) for turn in turns}
    if len(asked) > 1:
        listed = ", ".join(sorted(map(str, asked)))
        return f"its turns were sampled at different temperatures: {listed}"
    return None


def _mend(key: str, neutral: tuple[JsonValue, ...]) -> str:
    if key in _PINNED_BY_SPEC:
        return f"set sampling.{key} to {neutral[0]}"
    return f"keep the agent from asking for {key}"


def _short(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"
