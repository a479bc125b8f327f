"""Search attributes of a namespace: made once, each with its type."""

import asyncio
import os
import uuid
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client as Temporal
from temporalio.service import RPCError

from rolldock.errors import UsageError
from rolldock.models import names
from rolldock.trainer.client import Client
from rolldock.trainer.connection import add_attributes, connect_temporal, missing_attributes

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the bubblewrap backend needs root"),
]


async def namespace(client: Client) -> Temporal:
    """A client of a namespace of its own, once it can be asked for its attributes."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    retention = Duration()
    retention.FromTimedelta(timedelta(days=1))
    await client.temporal.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    settings = client.settings.model_copy(update={"temporal_namespace": name})
    async with asyncio.timeout(30):
        while True:
            temporal = await connect_temporal(settings)
            try:
                await missing_attributes(temporal)
            except RPCError:
                await asyncio.sleep(0.2)
                continue
            return temporal


async def until_none_is_missing(temporal: Temporal) -> None:
    """A new attribute may be seen a moment later."""
    async with asyncio.timeout(30):
        while await missing_attributes(temporal):
            await asyncio.sleep(0.2)


async def test_attributes_are_made_once(client: Client) -> None:
    """All that are missing, whatever their types; then none is."""
    temporal = await namespace(client)
    assert set(await add_attributes(temporal)) == set(names.SEARCH_ATTRIBUTES)
    await until_none_is_missing(temporal)
    assert await add_attributes(temporal) == []


async def test_a_name_of_another_type_is_refused(client: Client) -> None:
    """With the command that removes it: a replay could never be started."""
    temporal = await namespace(client)
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    await temporal.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=temporal.namespace,
            search_attributes={names.ATTRIBUTE_REPLAY_OF: keyword},
        )
    )
    with pytest.raises(UsageError, match=r"has to be a KeywordList.*search-attribute remove"):
        await until_none_is_missing(temporal)
