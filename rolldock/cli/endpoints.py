"""`rolldock endpoint add`, `rolldock endpoint ls`."""

import typer

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, console, table
from rolldock.cli.keys import read_key
from rolldock.models.endpoint import Endpoint, EngineMode


async def add(name: str, *, url: str, model: str, api_key_env: str | None, mode: str) -> int:
    """Ask the server, then write the endpoint's next version."""
    key = read_key(api_key_env)
    async with connected() as client:
        endpoint = await client.add_endpoint(
            name, url=url, model=model, api_key=key, mode=EngineMode(mode)
        )
    typer.echo(f"endpoint {endpoint.name} version {endpoint.version}: {_token_ids(endpoint)}")
    return 0


async def ls(*, as_json: bool) -> int:
    """The newest version of each."""
    async with connected() as client:
        endpoints = await client.endpoints()
    if as_json:
        for endpoint in endpoints:
            typer.echo(endpoint.model_dump_json(exclude={"api_key"}))
        return 0
    made = table(("endpoint", "version", "model", "servers", "key", "token ids"), ("version",))
    for endpoint in endpoints:
        made.add_row(
            *cells(
                endpoint.name,
                endpoint.version,
                endpoint.model,
                " ".join(endpoint.replicas),
                "yes" if endpoint.api_key is not None else "none",
                _token_ids(endpoint),
            )
        )
    console().print(made)
    return 0


def _token_ids(endpoint: Endpoint) -> str:
    if endpoint.token_ids is None:
        return "not probed for token ids"
    return "gives token ids" if endpoint.token_ids else "gives no token ids"
