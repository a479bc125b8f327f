"""A tiny random language model in numpy, and a tokenizer to go with it: real ones, but no use.

One layer over a decaying sum of embeddings: every log-prob depends on all tokens before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from rolldock.models.base import JsonObject

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = (
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    *("<think>", "</think>"),
)
END = "<|im_end|>"

_LINES = (
    "system\nYou are a helpful assistant that writes files and runs commands.",
    "user\nWrite a file hello.txt whose content is Hello, world! and list the directory.",
    'assistant\n{"name": "bash", "arguments": {"command": "ls -la", "path": "/app"}}',
    "# Tools\n\nYou may call one or more functions to assist with the user query.",
    "You are provided with function signatures within XML tags:",
    "For each function call, return a json object with function name and arguments",
    "def main() -> None:\n    print('done')\n",
)
_WIDTH = 16
_DECAY = 0.9

Floats = NDArray[np.float64]


@cache
def make_tokenizer() -> Tokenizer:
    """Byte-level BPE over a few lines, with the special tokens of the ChatML/Qwen template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_LINES, trainer)
    added = [AddedToken(text, normalized=False) for text in MARKERS]
    tokenizer.add_tokens(added)  # pyright: ignore[reportUnknownMemberType]  # a bare list in its stubs
    return tokenizer


def write_tokenizer(directory: Path) -> Path:
    """The tokenizer as a model's directory has it."""
    directory.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    config: JsonObject = {"eos_token": END, "pad_token": {"content": "<|endoftext|>"}}
    (directory / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    template = (
        "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
        "{{ message.content }}{{ eos_token }}\n{% endfor -%}"
        "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif -%}"
    )
    (directory / "chat_template.jinja").write_text(template)
    return directory


@dataclass
class TinyModel:
    """Samples, or is told what to sample; either way it says what it truly thinks of it."""

    n_tokens: int
    seed: int = 0
    bias: dict[int, float] = field(default_factory=dict[int, float])
    """Added to the logits of some tokens."""

    def __post_init__(self) -> None:
        made = np.random.default_rng(self.seed)
        self._embedding: Floats = made.normal(size=(self.n_tokens, _WIDTH))
        self._layer: Floats = made.normal(size=(_WIDTH, _WIDTH)) / np.sqrt(_WIDTH)
        self._bias: Floats = np.zeros(self.n_tokens)
        for token, value in self.bias.items():
            self._bias[token] = value

    def state(self, prompt: Sequence[int]) -> Floats:
        """What the model knows after a prompt."""
        weights = _DECAY ** np.arange(len(prompt) - 1, -1, -1)
        return weights @ self._embedding[np.array(prompt, dtype=np.int64)]

    def after(self, state: Floats, token: int) -> Floats:
        """What it knows after one more token."""
        return _DECAY * state + self._embedding[token]

    def log_probs(self, state: Floats) -> Floats:
        """Of every next token, before any temperature."""
        return _log_softmax(np.tanh(state @ self._layer) @ self._embedding.T + self._bias)

    def sample(self, log_probs: Floats, temperature: float, draw: np.random.Generator) -> int:
        """The next token at a temperature; at 0 the likeliest."""
        if temperature == 0:
            return int(np.argmax(log_probs))
        chances = np.exp(_log_softmax(log_probs / temperature))
        return int(draw.choice(self.n_tokens, p=chances / chances.sum()))


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
