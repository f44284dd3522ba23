"""The table with the ledger and the leases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from azure.core.exceptions import HttpResponseError
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.storage.connections import Connection, Identity
from shared.storage.credentials import TokenUnavailable, credential
from shared.storage.transport import USER_AGENT, ResponseRefused, transport

TABLE = "acrrecovered"

CALL_SECONDS = 10

# https://learn.microsoft.com/azure/storage/tables/authorize-access-azure-active-directory
_ROLE = "an identity needs the role Storage Table Data Contributor"


class LedgerUnavailable(Exception):
    """The table cannot be used. The message says why and what to do."""


@asynccontextmanager
async def table_call(
    seconds: float = CALL_SECONDS, passed_on: type[Exception] | tuple[()] = ()
) -> AsyncIterator[None]:
    """Turns every failure of a call of the table service into LedgerUnavailable.

    Exceptions of the class `passed_on` stay as they are.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except passed_on:
        raise
    except Exception as error:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        remedy = _ROLE if status in (401, 403) else "the next run tries again"
        cause = str(status or type(error).__name__)
        if isinstance(error, TokenUnavailable):
            remedy = str(error)
        elif isinstance(error, ResponseRefused):
            cause, remedy = str(error), "check what responds at the URL of the account's tables"
        raise LedgerUnavailable(f"the table {TABLE} cannot be used ({cause}): {remedy}") from error


def connect(connection: Connection, session: aiohttp.ClientSession) -> TableClient:
    """A client of the table. Raises ValueError where `connection` could never reach it."""
    options: dict[str, Any] = {
        "transport": transport(session),
        "retry_total": 1,
        "user_agent": USER_AGENT,
    }
    if isinstance(connection, Identity):
        if connection.table_service_uri is None:
            raise ValueError(
                f"{connection.name}__tableServiceUri is not set: it must be the URL of the "
                "account's tables"
            )
        tokens = credential(connection.principal, transport(session))
        service = TableServiceClient(connection.table_service_uri, credential=tokens, **options)
    else:
        try:
            service = TableServiceClient.from_connection_string(connection.value, **options)
        except ValueError as error:
            raise ValueError(f"{connection.name} leads to no tables: {error}") from None
    return service.get_table_client(TABLE)
