"""What was recovered already: a table of the storage account, so that nothing comes twice."""

import hashlib
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from azure.core import MatchConditions
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.connections import Connection, Identity
from shared.identity import credential
from shared.transport import transport
from shared.webhooks import Webhook

TABLE = "acrrecovered"

_LOCK = "lock"


class Recoveries:
    """The table; a partition for each webhook, a row for each event, and one for who is at it.

    Raises what the SDK raises.
    """

    def __init__(
        self, connection: Connection, session: aiohttp.ClientSession, *, hold: timedelta
    ) -> None:
        """`hold`: after this time without a sign of life, others take a webhook over.

        Raises ValueError where nothing could ever be reached by `connection`.
        """
        options: dict[str, Any] = {"transport": transport(session), "retry_total": 2}
        if isinstance(connection, Identity):
            if connection.table_service_uri is None:
                raise ValueError(
                    f"{connection.name}__tableServiceUri is not set: it must be the URL of the "
                    "account's tables"
                )
            tokens = credential(connection.principal, transport(session))
            service = TableServiceClient(connection.table_service_uri, credential=tokens, **options)
        else:
            service = TableServiceClient.from_connection_string(connection.value, **options)
        self._table: TableClient = service.get_table_client(TABLE)
        self.hold = hold
        self._owner = uuid.uuid4().hex

    async def known(self, webhook: Webhook) -> set[str]:
        """The keys of the events of `webhook` that were recovered; none where no table is."""
        rows = self._table.query_entities(
            "PartitionKey eq @partition",
            parameters={"partition": _partition(webhook)},
            select=["RowKey"],
        )
        try:
            return {row["RowKey"] async for row in rows}
        except ResourceNotFoundError:
            return set()

    async def note(self, webhook: Webhook, id_: str, now: datetime) -> None:
        """Remembers the event `id_`."""
        await self._table.upsert_entity(
            {"PartitionKey": _partition(webhook), "RowKey": key(id_), "at": now},
            mode=UpdateMode.REPLACE,
        )

    async def forget(self, webhook: Webhook, before: datetime) -> None:
        """Forgets what was recovered earlier than `before`."""
        rows = self._table.query_entities(
            "PartitionKey eq @partition and at lt @before",
            parameters={"partition": _partition(webhook), "before": before},
            select=["PartitionKey", "RowKey"],
        )
        async for row in rows:
            await self._table.delete_entity(row)

    async def take(self, webhook: Webhook) -> bool:
        """Whether `webhook` is ours for now: False where another one is at it."""
        with suppress(ResourceExistsError):
            await self._table.create_table()
        row = self._lock(webhook)
        try:
            await self._table.create_entity(row)
            return True
        except ResourceExistsError:
            pass
        try:
            found = await self._table.get_entity(row["PartitionKey"], _LOCK)
        except ResourceNotFoundError:
            return await self.take(webhook)  # it was let go in between
        if found["owner"] != self._owner and found["until"] > datetime.now(UTC):
            return False
        try:
            await self._table.update_entity(
                row,
                mode=UpdateMode.REPLACE,
                etag=found.metadata["etag"],
                match_condition=MatchConditions.IfNotModified,
            )
        except (ResourceModifiedError, ResourceNotFoundError):
            return False
        return True

    async def let_go(self, webhook: Webhook) -> None:
        """Lets others have `webhook`."""
        row = self._lock(webhook)
        try:
            found = await self._table.get_entity(row["PartitionKey"], _LOCK)
            if found["owner"] == self._owner:
                await self._table.delete_entity(
                    found,
                    etag=found.metadata["etag"],
                    match_condition=MatchConditions.IfNotModified,
                )
        except Exception:  # noqa: BLE001, S110 (on odd answers the SDK raises anything)
            pass  # it ends by itself

    def _lock(self, webhook: Webhook) -> dict[str, Any]:
        until = datetime.now(UTC) + self.hold
        return {
            "PartitionKey": f"{_partition(webhook)}-{_LOCK}",
            "RowKey": _LOCK,
            "owner": self._owner,
            "until": until,
        }


def key(id_: str) -> str:
    """The row of an event: its id could hold what a row's key may not."""
    return hashlib.sha256(id_.encode(errors="backslashreplace")).hexdigest()


def _partition(webhook: Webhook) -> str:
    return key(webhook.key)
