"""A stand-in for frpc: a small forwarder that reads frpc's configuration and writes its log lines.

Started as `python frpc.py -c FILE`. Between it and `service.py` goes a line protocol of their own
in place of frp's; it logs in, then opens one connection per visitor, to the service and to the
local server, and copies bytes between them. It knows no encryption, pools or multiplexing.
"""

import asyncio
import json
import sys
import tomllib
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

RETRY_SECONDS = 0.3


def log(level: str, line: str) -> None:
    """A line as frpc writes it to its console."""
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    print(f"{now} [{level}] [client/control.go:172] [stand-in] {line}", flush=True)  # noqa: T201


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes to the end of one side, then end the other."""
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def visit(config: dict[str, Any], visitor: str) -> None:
    """One visitor's connection, to the local server and back."""
    proxy = config["proxies"][0]
    work_reader, work_writer = await asyncio.open_connection(
        config["serverAddr"], config["serverPort"]
    )
    try:
        work_writer.write(json.dumps({"work": visitor}).encode() + b"\n")
        reader, writer = await asyncio.open_connection(proxy["localIP"], proxy["localPort"])
    except OSError as error:
        log("E", f"connect to local service [{proxy['localPort']}] error: {error}")
        work_writer.close()
        return
    await asyncio.gather(copy(work_reader, writer), copy(reader, work_writer))
    for end in (work_writer, writer):
        end.close()


async def serve(config: dict[str, Any]) -> None:
    """Log in and serve visitors until the service hangs up."""
    name = config["proxies"][0]["name"]
    reader, writer = await asyncio.open_connection(config["serverAddr"], config["serverPort"])
    try:
        login = {
            "login": config["user"],
            "token": config["auth"]["token"],
            "binding_secret": config["metadatas"]["binding_secret"],
        }
        writer.write(json.dumps(login).encode() + b"\n")
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("EOF")
        answer = json.loads(line)
        if answer.get("error"):
            log("W", f"connect to server error: {answer['error']}")
            return
        log("I", f"[{name}] start proxy success")
        async with asyncio.TaskGroup() as visits:
            while visitor := (await reader.readline()).decode().strip():
                visits.create_task(visit(config, visitor))
    finally:
        writer.close()


async def main(config: dict[str, Any]) -> None:
    """Serve for ever, as `loginFailExit = false` says."""
    assert config["loginFailExit"] is False
    while True:
        try:
            await serve(config)
        except OSError as error:
            log("W", f"connect to server error: {error}")
        await asyncio.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    option, file = sys.argv[1:]
    assert option == "-c"
    with suppress(KeyboardInterrupt):
        asyncio.run(main(tomllib.loads(Path(file).read_text())))
