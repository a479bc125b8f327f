"""A sandboxd beside a stack's own, whose sandboxes mount no agents: as those of a cloud."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from rolldock.cli.stack.child import Child
from rolldock.cli.stack.options import Port, StackOptions
from rolldock.cli.stack.programs import CHECKOUT, Programs
from rolldock.cli.stack.stack import Stack
from rolldock.sandboxd.config import SandboxdConfig


@asynccontextmanager
async def bare_sandboxd(
    stack: Stack, options: StackOptions, state: Path
) -> AsyncGenerator[str, None]:
    """Its URL while it runs; its key is the stack's, and its sandboxes reach the same gateway."""
    key = str(stack.settings.prime_api_key)
    usual = Programs(options, stack.home, stack.ports, key).sandboxd()
    config = SandboxdConfig(
        state_dir=state,
        api_key=key,
        gateway_port=stack.ports[Port.GATEWAY],
        hidden=(stack.home.root, CHECKOUT),
        faults=options.faults,
    )
    env = usual.env | {"ROLLDOCK_SANDBOXD_CONFIG": config.model_dump_json()}
    program = usual.model_copy(update={"name": "sandboxd-bare", "env": env})
    child = Child(program, stack.home.logs, CHECKOUT, lambda _: None)
    await child.start()
    try:
        yield child.log.read_text().split("listening on ")[1].split()[0]
    finally:
        await child.stop()
