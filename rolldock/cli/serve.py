"""`rolldock gateway` and `rolldock sandboxd`: this process becomes the server."""

import os
import sys
from typing import NoReturn

from rolldock.cli.stack.home import Home, keep_secret, local_store
from rolldock.errors import UsageError
from rolldock.gateway.config import CONFIG_VARIABLE as GATEWAY_CONFIG
from rolldock.gateway.config import GatewayConfig
from rolldock.sandboxd.config import SandboxdConfig
from rolldock.settings import Settings, home


async def gateway(host: str, port: int) -> int:
    """Serve the settings' store under the settings' secret."""
    settings = Settings.load()
    settings.read_secret()  # says how to make one where there is none
    # By file, or as the variable ROLLDOCK_SECRET that the server inherits.
    secret_file = settings.secret_file if settings.secret is None else None
    config = GatewayConfig(store=settings.store, secret_file=secret_file, host=host, port=port)
    _become("rolldock.gateway", GATEWAY_CONFIG, config.model_dump_json())


async def sandboxd(host: str, port: int, gateway_port: int) -> int:
    """Serve the sandboxes of this home; the key is PRIME_API_KEY or the home's own."""
    settings = Settings.load()
    stack_home = Home(home())
    api_key = settings.prime_api_key or keep_secret(stack_home.api_key_file)[0]
    config = SandboxdConfig(
        state_dir=stack_home.sandboxes,
        api_key=api_key,
        host=host,
        port=port,
        gateway_port=gateway_port,
        hidden=(stack_home.root, *local_store(settings.store)),
        agent_cache=settings.agent_cache if settings.agent_cache.is_dir() else None,
    )
    _become("rolldock.sandboxd", "ROLLDOCK_SANDBOXD_CONFIG", config.model_dump_json())


def _become(module: str, variable: str, config: str) -> NoReturn:
    sys.stdout.flush()
    environment = os.environ | {variable: config}
    try:
        os.execve(sys.executable, (sys.executable, "-m", module), environment)
    except OSError as error:
        raise UsageError(f"{sys.executable}: {error.strerror}") from error
