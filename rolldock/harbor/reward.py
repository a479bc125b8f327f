"""The reward files that a test script leaves, read exactly as Harbor reads them.

`reward.json` wins over `reward.txt`. No value is checked for its range, and nothing is ever taken
for 0: a file that cannot be read is an error.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, cast

REWARD_KEY: Final = "reward"


class RewardInvalid(ValueError):
    """Raised when the tests left no reward, or none that can be read."""


def parse_reward(reward_json: bytes | None, reward_txt: bytes | None) -> dict[str, float]:
    """The rewards by name; None stands for a file that does not exist.

    Raises:
        RewardInvalid: no file, an empty one, or a value that is no finite number.
    """
    if reward_json is not None:
        return _parse_json(_text(reward_json, "reward.json"))
    if reward_txt is not None:
        return {REWARD_KEY: _parse_number(_text(reward_txt, "reward.txt"))}
    raise RewardInvalid(
        "the tests wrote neither /logs/verifier/reward.txt nor /logs/verifier/reward.json"
    )


def single_reward(rewards: Mapping[str, float]) -> float | None:
    """The reward named `reward`, else the only one there is, else None."""
    if REWARD_KEY in rewards:
        return rewards[REWARD_KEY]
    return next(iter(rewards.values())) if len(rewards) == 1 else None


def _text(content: bytes, name: str) -> str:
    if not content:
        raise RewardInvalid(f"{name} is empty")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RewardInvalid(f"{name} is not UTF-8") from error


def _parse_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise RewardInvalid(f"reward.txt holds {_shown(text)}, which is no number") from None
    if not math.isfinite(value):
        raise RewardInvalid(f"reward.txt holds {_shown(text)}, which is not finite")
    return value


def _parse_json(text: str) -> dict[str, float]:
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RewardInvalid(f"reward.json is not valid JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise RewardInvalid(f"reward.json holds {_shown(text)}, which is no object")
    return {key: _json_number(key, value) for key, value in cast(dict[str, Any], parsed).items()}


def _json_number(key: str, value: Any) -> float:
    if not isinstance(value, int | float):
        raise RewardInvalid(f"reward.json: {key} = {_shown(json.dumps(value))} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RewardInvalid(f"reward.json: {key} is not finite")
    return number


def _shown(text: str) -> str:
    limit = 80
    return repr(text if len(text) <= limit else f"{text[:limit]}…")
