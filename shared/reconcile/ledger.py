"""What was recovered already: a table of the storage account, so that nothing comes twice."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.core.webhooks import Webhook
from shared.storage.connections import Connection, Identity
from shared.storage.credentials import TokenUnavailable, credential
from shared.storage.transport import USER_AGENT, transport

TABLE = "acrrecovered"

_LEASE = "lease"

# Seconds for one call, and for reading all rows of a webhook.
_CALL, _READ_ALL = 10, 60

# As many rows as one transaction takes.
_TRANSACTION = 100


class TableUnavailable(Exception):
    """The table cannot be used; the message says why and what to do."""


class Taken(Exception):
    """Somebody else is at this webhook."""


@asynccontextmanager
async def _call(seconds: float = _CALL) -> AsyncIterator[None]:
    """Whatever goes wrong with a call of the table's service is TableUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except Taken:
        raise
    except Exception as error:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        what = {
            401: "an identity needs the role Storage Table Data Contributor",
            403: "an identity needs the role Storage Table Data Contributor",
        }.get(status or 0, "the next round tries again")
        if isinstance(error, TokenUnavailable):
            what = str(error)
        reason = status or type(error).__name__
        raise TableUnavailable(f"the table {TABLE} cannot be used ({reason}): {what}") from error


class Recoveries:
    """The table: a partition for each webhook, a row for each event. Raises TableUnavailable."""

    def __init__(
        self, connection: Connection, session: aiohttp.ClientSession, *, hold: timedelta
    ) -> None:
        """`hold`: after this time without a sign of life, others take a webhook over.

        Raises ValueError where nothing could ever be reached by `connection`.
        """
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
        self._table: TableClient = service.get_table_client(TABLE)
        self._hold = hold

    async def known(self, webhook: Webhook) -> dict[str, datetime]:
        """The rows of `webhook`, and when each was recovered; none where no table is."""
        rows = self._table.query_entities(
            "PartitionKey eq @partition",
            parameters={"partition": _partition(webhook)},
            select=["RowKey", "at"],
        )
        async with _call(_READ_ALL):
            try:
                return {row["RowKey"]: row["at"] async for row in rows}
            except ResourceNotFoundError:
                return {}

    async def note(self, webhook: Webhook, row: str, now: datetime) -> None:
        """Remembers what was recovered."""
        async with _call():
            await self._table.upsert_entity(
                {"PartitionKey": _partition(webhook), "RowKey": row, "at": now},
                mode=UpdateMode.REPLACE,
            )

    async def forget(self, webhook: Webhook, rows: Collection[str]) -> None:
        """Forgets `rows`."""
        listed = list(rows)
        for start in range(0, len(listed), _TRANSACTION):
            keys = listed[start : start + _TRANSACTION]
            partition = _partition(webhook)
            async with _call():
                await self._table.submit_transaction(
                    [("delete", {"PartitionKey": partition, "RowKey": row}) for row in keys]
                )

    def lease(self, webhook: Webhook) -> "Lease":
        """The lease on `webhook`, which nobody has yet."""
        return Lease(self._table, f"{_partition(webhook)}-{_LEASE}", self._hold)


class Lease:
    """The right to recover what one webhook missed: a row with its end in it.

    It is ours as long as the row is as we wrote it, however late that is.
    """

    def __init__(self, table: TableClient, partition: str, hold: timedelta) -> None:
        self._table = table
        self._partition = partition
        self._hold = hold
        self._etag: str | None = None
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    async def keep(self) -> bool:
        """Sees to it that the lease is ours. Whether it was all the time, so that nobody else can
        have done anything since the last call.

        Raises Taken where it is somebody else's, and TableUnavailable.
        """
        if self._etag and datetime.now(UTC) < self._renew_at:
            return True
        async with _call():
            return await self._write(self._etag) or await self._take()

    async def let_go(self) -> None:
        """Lets others have it; where that fails, it ends by itself."""
        if self._etag:
            with suppress(Exception):
                async with asyncio.timeout(_CALL):
                    await self._table.delete_entity(
                        self._partition,
                        _LEASE,
                        etag=self._etag,
                        match_condition=MatchConditions.IfNotModified,
                    )
        self._etag = None

    async def _take(self) -> bool:
        """Takes what nobody has, or has no more. Always False: it was not ours before."""
        try:
            self._written(await self._create())
        except ResourceExistsError:
            try:
                found = await self._table.get_entity(self._partition, _LEASE)
            except ResourceNotFoundError:
                raise Taken from None  # and let go in between: the next round is soon enough
            if found["until"] > datetime.now(UTC) or not await self._write(found.metadata["etag"]):
                raise Taken from None
        return False

    async def _create(self) -> Mapping[str, Any]:
        """The new row's metadata; the table is created where it is missing, and then only.

        A role on the table need not allow to create it. Raises ResourceExistsError.
        """
        try:
            return await self._table.create_entity(self._row())
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):
                await self._table.create_table()
        return await self._table.create_entity(self._row())

    async def _write(self, etag: str | None) -> bool:
        """Writes our row over the one of `etag`; whether that was still there."""
        if etag is None:
            return False
        self._etag = None
        try:
            metadata = await self._table.update_entity(
                self._row(),
                mode=UpdateMode.REPLACE,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
            )
        except (ResourceModifiedError, ResourceNotFoundError):
            return False
        self._written(metadata)
        return True

    def _written(self, metadata: Any) -> None:
        self._etag = str(metadata["etag"])
        self._renew_at = datetime.now(UTC) + self._hold / 3

    def _row(self) -> dict[str, Any]:
        until = datetime.now(UTC) + self._hold
        return {
            "PartitionKey": self._partition,
            "RowKey": _LEASE,
            "until": until,
        }


def row(kind: str, id_: str) -> str:
    """The row of what has this id among others of its kind: no id can be as long or as odd."""
    return hashlib.sha256(f"{kind} {id_}".encode(errors="backslashreplace")).hexdigest()


def _partition(webhook: Webhook) -> str:
    return row("webhook", webhook.key)
