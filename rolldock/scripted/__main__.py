"""`python -m rolldock.scripted`: serve scripts until SIGINT or SIGTERM."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from rolldock.errors import UsageError

from .script import Script, load_scripts
from .server import serve


def main() -> None:
    """Parse the command line and serve; exit code 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m rolldock.scripted")
    parser.add_argument("--scripts", type=Path, action="append", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: chosen by the system")
    parser.add_argument("--api-key", default=None, help="demand this key of every request")
    parser.add_argument(
        "--faults", action="store_true", help="let anyone inject faults and read the journal"
    )
    arguments = parser.parse_args()
    try:
        scripts: dict[str, Script] = {}
        for directory in arguments.scripts:
            scripts |= load_scripts(directory)
        asyncio.run(_serve(scripts, arguments))
    except UsageError as error:
        print(error, file=sys.stderr)  # noqa: T201  a command's error
        sys.exit(2)


async def _serve(scripts: dict[str, Script], arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with serve(
        scripts,
        host=arguments.host,
        port=arguments.port,
        api_key=arguments.api_key,
        faults=arguments.faults,
    ) as address:
        print(f"listening on {address}", flush=True)  # noqa: T201  who starts it reads the port
        await stopped.wait()


if __name__ == "__main__":
    main()
