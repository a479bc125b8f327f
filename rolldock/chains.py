"""The turns of a trace as chains along `extends`, from which whole token sequences are read.

Tokenises nothing, and does not say what is trained on.
"""

from collections.abc import Iterable, Iterator, Sequence

from rolldock.errors import RolldockError
from rolldock.models.turn import Tokens, Turn


class BrokenChainError(RolldockError, ValueError):
    """Raised when a turn extends one that the trace does not have, or itself."""


class TokenChains:
    """The recorded tokens of a trace's turns, by slot.

    Raises:
        BrokenChainError: from the constructor, when `extends` does not lead to a first turn.
    """

    def __init__(self, turns: Iterable[Turn]) -> None:
        self.turns = tuple(turns)
        """All turns of the trace, also those without tokens."""
        self._tokens = {turn.slot: turn.tokens for turn in self.turns if turn.tokens is not None}
        self._chains: dict[int, tuple[int, ...]] = {}
        self._prompt_lengths: dict[int, int] = {}
        for slot in self._tokens:
            self._link(slot)

    def __contains__(self, slot: int) -> bool:
        return slot in self._tokens

    def __iter__(self) -> Iterator[int]:
        """The slots that have tokens, as the trace orders them."""
        return iter(self._tokens)

    def tokens(self, slot: int) -> Tokens:
        """A turn's own tokens, as stored."""
        return self._tokens[slot]

    def chain(self, slot: int) -> tuple[int, ...]:
        """The turns that a turn builds on, the first one first, and the turn itself."""
        return self._chains[slot]

    def prompt_length(self, slot: int) -> int:
        """The tokens of a turn's whole prompt."""
        return self._prompt_lengths[slot]

    def sequence(self, slots: Sequence[int]) -> tuple[int, ...]:
        """Prompts and completions of turns that follow each other in a chain."""
        ids: list[int] = []
        for slot in slots:
            ids += self._tokens[slot].prompt_ids
            ids += self._tokens[slot].completion_ids
        return tuple(ids)

    def _link(self, slot: int) -> None:
        """Find the chain of a turn, and of every turn that it builds on."""
        waiting: list[int] = []
        at: int | None = slot
        while at is not None and at not in self._chains:
            if at not in self._tokens or at in waiting:
                raise BrokenChainError(
                    f"turn {slot} builds on turn {at}, which has no tokens or builds on it: "
                    "this trace is damaged"
                )
            waiting.append(at)
            at = self._tokens[at].extends
        for later in reversed(waiting):
            self._append(later)

    def _append(self, slot: int) -> None:
        tokens = self._tokens[slot]
        before, length = (), 0
        if tokens.extends is not None:
            before = self._chains[tokens.extends]
            extended = self._tokens[tokens.extends].completion_ids
            length = self._prompt_lengths[tokens.extends] + len(extended)
        self._chains[slot] = (*before, slot)
        self._prompt_lengths[slot] = length + len(tokens.prompt_ids)
