"""The client of the command line: connected by the settings, its server's failures one line."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from temporalio.service import RPCError

from rolldock.errors import UnavailableError
from rolldock.trainer.client import Client
from rolldock.trainer.patience import is_transient


@asynccontextmanager
async def connected() -> AsyncGenerator[Client, None]:
    """A client while the block runs.

    Raises:
        UnavailableError: Temporal does not answer, at the start or later, or refuses.
    """
    async with await Client.connect() as client:
        try:
            yield client
        except RPCError as error:
            if not is_transient(error):
                raise UnavailableError(
                    f"Temporal at {client.settings.temporal_address} refuses "
                    f"({error.status.name.lower()}): {error.message}"
                ) from error
            raise UnavailableError(
                f"Temporal at {client.settings.temporal_address} has stopped answering "
                f"({error.message}): see that it runs (`rolldock up`), then give the same command "
                "again; rollouts that were started go on"
            ) from error
