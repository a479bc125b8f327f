"""`python -m rolldock.gateway`: the socket-holding parent, or the child that it starts.

The configuration is JSON in ROLLDOCK_GATEWAY_CONFIG; nothing is read from the command line, where
every user of the machine could read it too.
"""

import asyncio
import gc
import os
import socket
import sys
from typing import Final

from pydantic import ValidationError

from rolldock.errors import RolldockError, UsageError
from rolldock.gateway.config import CONFIG_VARIABLE, GatewayConfig
from rolldock.gateway.holder import PARENT_VARIABLE, SOCKET_VARIABLE, Holder

_COLLECTIONS: Final = (10_000, 20, 20)
"""Python's own thresholds cost a busy gateway more than a tenth of its time: the sessions that it
keeps are many small objects, and hardly a cycle is among them."""


def main() -> int:
    """Run until told to stop. Returns the exit code: 2 for what the caller must mend."""
    try:
        config = read_config()
        if SOCKET_VARIABLE in os.environ:
            _serve(config)
        else:
            config.read_secret()
            Holder(config).run()
    except UsageError as error:
        print(f"rolldock gateway: {error}", file=sys.stderr)  # noqa: T201 (for the terminal)
        return 2
    except RolldockError as error:
        print(f"rolldock gateway: {error}", file=sys.stderr)  # noqa: T201 (for the terminal)
        return 1
    return 0


def read_config() -> GatewayConfig:
    """The configuration in the environment.

    Raises:
        UsageError: it is missing or wrong.
    """
    given = os.environ.get(CONFIG_VARIABLE)
    if given is None:
        raise UsageError(f"{CONFIG_VARIABLE} is not set: start it with `rolldock gateway`")
    try:
        return GatewayConfig.model_validate_json(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{CONFIG_VARIABLE}: {where}: {first['msg']}") from None


def _serve(config: GatewayConfig) -> None:
    # Heavy imports: the parent must not need them.
    from rolldock.gateway.serve import serve

    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)
    listener = socket.socket(fileno=int(os.environ[SOCKET_VARIABLE]))
    parent = os.environ.get(PARENT_VARIABLE)
    asyncio.run(serve(config, listener, None if parent is None else int(parent)))


if __name__ == "__main__":
    sys.exit(main())
