"""What a client does with endpoints: the model servers that rollouts name.

They are records of the store: Temporal is not asked.
"""

from collections.abc import Collection
from pathlib import Path

from rolldock.models.endpoint import Endpoint, EngineMode, LogprobsMode
from rolldock.settings import Settings
from rolldock.store import endpoints
from rolldock.store.store import Store
from rolldock.trainer.adding import EndpointRequest, add_endpoint
from rolldock.trainer.endpoints import (
    PAUSE_SECONDS,
    pause_endpoint,
    resume_endpoint,
    set_policy_version,
)


class EndpointMethods:
    """The part of `Client` that is about endpoints."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings

    async def add_endpoint(
        self,
        name: str,
        *,
        url: str,
        model: str,
        api_key: str | None = None,
        mode: EngineMode = EngineMode.CHAT,
        policy_version: str | None = None,
        logprobs_mode: LogprobsMode | None = None,
        native: Collection[str] | None = None,
        tokenizer: Path | None = None,
        renderer: str | None = None,
    ) -> Endpoint:
        """Probe a model server and write it as the newest version of an endpoint.

        The same endpoint again writes nothing. `logprobs_mode` overrides what the probe finds.
        `native`: the wire formats beside chat completions that the server speaks itself, of
        `anthropic.messages` and `openai.responses`; None keeps those of the same model and URL.
        `tokenizer`: for mode `tokens`, the directory of the model's tokenizer; `renderer`: what
        renders its conversations, for a model that is not a published one.

        Raises:
            UsageError: the server refuses, answers 401, or does not speak the protocol.
        """
        asked = EndpointRequest(
            url=url,
            model=model,
            api_key=api_key,
            mode=mode,
            policy_version=policy_version,
            logprobs_mode=logprobs_mode,
            native=None if native is None else tuple(native),
            tokenizer=tokenizer,
            renderer=renderer,
        )
        return await add_endpoint(self.store, self.settings.read_secret(), name, asked)

    async def pause_endpoint(self, name: str, timeout_seconds: float = PAUSE_SECONDS) -> Endpoint:
        """Hold new calls back in the gateway and wait until no older one is open.

        Raises:
            UsageError: there is no such endpoint, or it was resumed meanwhile.
            CallsOpenError: older calls are still open; the endpoint stays paused.
        """
        return await pause_endpoint(self.store, name, timeout_seconds)

    async def resume_endpoint(self, name: str, policy_version: str | None = None) -> Endpoint:
        """Let the calls go that wait, under another policy version where one is given.

        Raises:
            UsageError: there is no such endpoint.
        """
        return await resume_endpoint(self.store, name, policy_version)

    async def set_policy_version(self, name: str, version: str) -> Endpoint:
        """Say which policy answers from now on; calls that are open span the update.

        Raises:
            UsageError: there is no such endpoint.
        """
        return await set_policy_version(self.store, name, version)

    async def endpoints(self) -> list[Endpoint]:
        """The newest version of every endpoint, by name."""
        known = [
            await endpoints.newest(self.store, name) for name in await endpoints.names(self.store)
        ]
        return [endpoint for endpoint in known if endpoint is not None]
