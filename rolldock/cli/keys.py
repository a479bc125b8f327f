"""Keys of model servers: read where the command runs, from the variable that it names."""

import os

from rolldock.errors import UsageError


def read_key(variable: str | None) -> str | None:
    """The key in the variable of that name; None where no variable was named.

    Raises:
        UsageError: it is not set.
    """
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise UsageError(
            f"variable {variable} is not set: export it with the model server's key, or leave "
            "--api-key-env out"
        )
    return value
