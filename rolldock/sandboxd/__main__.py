"""`python -m rolldock.sandboxd`: one sandboxd, configured by one environment variable."""

import asyncio
import logging
import os
import signal
import sys
from typing import Final

from pydantic import ValidationError

from rolldock.errors import RolldockError, UsageError
from rolldock.sandboxd.app import serve
from rolldock.sandboxd.config import SandboxdConfig

CONFIG_VARIABLE: Final = "ROLLDOCK_SANDBOXD_CONFIG"


def _config() -> SandboxdConfig:
    text = os.environ.get(CONFIG_VARIABLE)
    if text is None:
        raise UsageError(f"{CONFIG_VARIABLE} is not set: start this with `rolldock sandboxd`")
    try:
        return SandboxdConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{CONFIG_VARIABLE}: {where}: {first['msg']}") from error


def _announce(address: str) -> None:
    sys.stdout.write(f"listening on {address}\n")
    sys.stdout.flush()


async def _run() -> None:
    server = asyncio.ensure_future(serve(_config(), _announce))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.cancel)
    try:
        await server
    except asyncio.CancelledError:
        return


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    logging.basicConfig(format="sandboxd: %(message)s", level=logging.WARNING)
    try:
        asyncio.run(_run())
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except RolldockError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
