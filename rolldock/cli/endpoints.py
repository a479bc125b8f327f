"""`rolldock endpoint add`, `ls`, `pause`, `resume`, `update`."""

from collections.abc import Collection
from pathlib import Path

import typer

from rolldock.cli.connection import connected
from rolldock.cli.console import cells, print_table, table
from rolldock.cli.keys import read_key
from rolldock.models.endpoint import Endpoint, EngineMode, IdsFrom, LogprobsMode
from rolldock.trainer.adding import check_tokens_mode


async def add(
    name: str,
    *,
    url: str,
    model: str,
    api_key_env: str | None,
    mode: str,
    logprobs_mode: str | None = None,
    native: Collection[str] | None = None,
    tokenizer: Path | None = None,
    renderer: str | None = None,
) -> int:
    """Ask the server, then write the endpoint's next version.

    Args:
        native: None: what the endpoint has of this server already.
    """
    key = read_key(api_key_env)
    check_tokens_mode(EngineMode(mode), model, tokenizer, renderer)
    async with connected() as client:
        endpoint = await client.add_endpoint(
            name,
            url=url,
            model=model,
            api_key=key,
            mode=EngineMode(mode),
            logprobs_mode=None if logprobs_mode is None else LogprobsMode(logprobs_mode),
            native=native,
            tokenizer=tokenizer,
            renderer=renderer,
        )
    also = f", speaks {' and '.join(endpoint.native)}" if endpoint.native else ""
    typer.echo(f"endpoint {endpoint.name} version {endpoint.version}: {_token_ids(endpoint)}{also}")
    return 0


async def pause(name: str, *, timeout_seconds: float) -> int:
    """Hold new calls back, and wait for those that are open."""
    async with connected() as client:
        typer.echo(f"endpoint {name} is being paused: waiting for its open calls", err=True)
        endpoint = await client.pause_endpoint(name, timeout_seconds)
    typer.echo(f"endpoint {name} version {endpoint.version} is paused: no call is open")
    return 0


async def resume(name: str, *, policy_version: str | None) -> int:
    """Let the calls go that wait."""
    async with connected() as client:
        endpoint = await client.resume_endpoint(name, policy_version)
    typer.echo(f"endpoint {name} version {endpoint.version} takes calls{_policy(endpoint)}")
    return 0


async def update(name: str, *, policy_version: str) -> int:
    """Say which policy answers from now on."""
    async with connected() as client:
        endpoint = await client.set_policy_version(name, policy_version)
    state = "is paused" if endpoint.paused else "takes calls"
    typer.echo(f"endpoint {name} version {endpoint.version} {state}{_policy(endpoint)}")
    return 0


async def ls(*, as_json: bool) -> int:
    """The newest version of each."""
    async with connected() as client:
        endpoints = await client.endpoints()
    if as_json:
        for endpoint in endpoints:
            typer.echo(endpoint.model_dump_json(exclude={"api_key"}))
        return 0
    heads = ("endpoint", "version", "state", "policy", "model", "servers", "key", "token ids")
    made = table(heads, ("version",))
    for endpoint in endpoints:
        made.add_row(
            *cells(
                endpoint.name,
                endpoint.version,
                "paused" if endpoint.paused else "open",
                endpoint.policy_version or "-",
                endpoint.model,
                " ".join(endpoint.replicas),
                "yes" if endpoint.api_key is not None else "none",
                _token_ids(endpoint),
            )
        )
    print_table(made)
    return 0


def _token_ids(endpoint: Endpoint) -> str:
    if endpoint.token_ids is None:
        return "not probed for token ids"
    if not endpoint.token_ids:
        return "gives no token ids"
    derived = ", those of prompts derived" if endpoint.ids_from is IdsFrom.LLAMA_CPP else ""
    mode = endpoint.logprobs_mode
    known = "" if mode is LogprobsMode.UNKNOWN else f", {mode} log-probs"
    return f"gives token ids{derived}{known}"


def _policy(endpoint: Endpoint) -> str:
    return "" if endpoint.policy_version is None else f", policy {endpoint.policy_version}"
