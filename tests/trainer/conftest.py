"""A Temporal server for tests of the client that need no worker."""

import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest_asyncio
from temporalio.client import Client as Temporal
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from rolldock.trainer.connection import add_attributes

TEMPORAL = Path(sys.executable).with_name("temporal")


@pytest_asyncio.fixture
async def temporal() -> AsyncGenerator[Temporal]:
    """A server of the test's own, which can pause workflows; no worker listens."""
    # One of its other parameters is not fully typed in the SDK.
    async with await WorkflowEnvironment.start_local(  # pyright: ignore[reportUnknownMemberType]
        data_converter=pydantic_data_converter,
        dev_server_existing_path=str(TEMPORAL),
        dev_server_extra_args=[
            *("--dynamic-config-value", "frontend.WorkflowPauseEnabled=true"),
            *("--log-level", "never"),
        ],
    ) as environment:
        await add_attributes(environment.client)
        yield environment.client
