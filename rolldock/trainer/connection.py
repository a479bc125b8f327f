"""Reaching Temporal: one way for client, worker and tests, with one data converter."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client as Temporal
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError

from rolldock.errors import UnavailableError, UsageError
from rolldock.models import names
from rolldock.models.names import AttributeType
from rolldock.settings import Settings

_TYPES: Final[Mapping[AttributeType, IndexedValueType.ValueType]] = {
    AttributeType.KEYWORD: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    AttributeType.KEYWORD_LIST: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}


@cache
def _quiet() -> Runtime:
    """A runtime whose native code says nothing of calls that are made again: what matters to the
    caller is raised."""
    errors = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=errors)))


async def connect_temporal(settings: Settings, runtime: Runtime | None = None) -> Temporal:
    """A client of the configured Temporal namespace.

    Args:
        runtime: the SDK's runtime; None: one that logs nothing but errors.

    Raises:
        UnavailableError: nothing answers there.
    """
    try:
        return await Temporal.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=pydantic_data_converter,
            runtime=runtime or _quiet(),
        )
    except (RPCError, RuntimeError) as error:
        raise UnavailableError(
            f"Temporal does not answer at {settings.temporal_address}: start one with "
            "`rolldock up`, or set TEMPORAL_ADDRESS"
        ) from error


async def deployment_of(temporal: Temporal) -> str:
    """The deployment: the UUID of the Temporal namespace."""
    described = await temporal.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=temporal.namespace)
    )
    return described.namespace_info.id


async def missing_attributes(temporal: Temporal) -> list[str]:
    """The search attributes that `rolldock init` has yet to create.

    Raises:
        UsageError: one of these names is taken by an attribute of another type.
    """
    listed = await temporal.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=temporal.namespace)
    )
    missing: list[str] = []
    for name, wanted in names.SEARCH_ATTRIBUTES.items():
        found = listed.custom_attributes.get(name)
        if found is None:
            missing.append(name)
        elif found != _TYPES[wanted]:
            raise UsageError(
                f"search attribute {name} has another type in namespace {temporal.namespace}, and "
                f"has to be a {wanted}: remove it with `temporal operator search-attribute remove "
                f"--name {name}`, then run `rolldock init`"
            )
    return missing


async def add_attributes(temporal: Temporal) -> list[str]:
    """Create the search attributes that are missing, and name them.

    Raises:
        UsageError: one of these names is taken by an attribute of another type.
    """
    missing = await missing_attributes(temporal)
    if missing:
        await temporal.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=temporal.namespace,
                search_attributes={name: _TYPES[names.SEARCH_ATTRIBUTES[name]] for name in missing},
            )
        )
    return missing
