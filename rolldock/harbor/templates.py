"""`${NAME}` and `${NAME:-default}` in a task's env tables, resolved on the worker.

A value is a template only as a whole: `pre${NAME}` stays as it is. Which variables of the host a
task may name is decided by the caller, who passes them and no others.
"""

import re
from collections.abc import Mapping
from typing import Final

_TEMPLATE: Final = re.compile(r"\$\{([^}:]+)(?::-(.*))?\}")


class MissingVariable(ValueError):
    """Raised when a template without default names a variable that is not to be had."""


def resolve(env: Mapping[str, str], host: Mapping[str, str]) -> dict[str, str]:
    """An env table with its templates replaced.

    Raises:
        MissingVariable: a variable is not among the host's, and there is no default.
    """
    return {name: _resolve_value(name, value, host) for name, value in env.items()}


def _resolve_value(name: str, value: str, host: Mapping[str, str]) -> str:
    found = _TEMPLATE.fullmatch(value)
    if found is None:
        return value
    variable: str = found[1]
    default: str | None = found[2]
    resolved = host.get(variable, default)
    if resolved is None:
        raise MissingVariable(
            f"{name} = {value!r}: the worker offers no variable {variable}: allow it there, "
            f"or give a default, ${{{variable}:-…}}"
        )
    return resolved
