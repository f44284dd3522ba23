"""The ledger: which deliveries were recovered already, so that no run recovers them again."""

import hashlib
from collections.abc import Collection
from datetime import datetime, timedelta

import aiohttp
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode

from shared.core.webhooks import Webhook
from shared.reconcile.lease import Lease
from shared.reconcile.table import connect, table_call
from shared.storage.connections import Connection
from shared.storage.transport import PAGE_BYTES, responses_up_to

_READ_ALL_SECONDS = 60

# https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
_TRANSACTION_ROWS = 100


class Ledger:
    """A table with a partition for each webhook and a row for each recovered delivery.

    Its methods raise LedgerUnavailable.
    """

    def __init__(
        self, connection: Connection, session: aiohttp.ClientSession, *, lease_duration: timedelta
    ) -> None:
        """Raises ValueError where `connection` could never reach a table."""
        self._table = connect(connection, session)
        self._lease_duration = lease_duration

    async def entries(self, webhook: Webhook) -> dict[str, datetime]:
        """The row keys of `webhook`, and when each was recovered. Empty where there is no table."""
        rows = self._table.query_entities(
            "PartitionKey eq @partition",
            parameters={"partition": _partition(webhook)},
            select=["RowKey", "at"],
        )
        async with table_call(_READ_ALL_SECONDS):
            try:
                with responses_up_to(PAGE_BYTES):
                    return {row["RowKey"]: row["at"] async for row in rows}
            except ResourceNotFoundError:
                return {}

    async def add(self, webhook: Webhook, key: str, now: datetime) -> None:
        """Enters a delivery that was recovered."""
        async with table_call():
            await self._table.upsert_entity(
                {"PartitionKey": _partition(webhook), "RowKey": key, "at": now},
                mode=UpdateMode.REPLACE,
            )

    async def remove(self, webhook: Webhook, keys: Collection[str]) -> None:
        """Removes the rows with these keys."""
        listed = list(keys)
        for start in range(0, len(listed), _TRANSACTION_ROWS):
            chosen = listed[start : start + _TRANSACTION_ROWS]
            partition = _partition(webhook)
            async with table_call():
                with responses_up_to(PAGE_BYTES):
                    await self._table.submit_transaction(
                        [("delete", {"PartitionKey": partition, "RowKey": key}) for key in chosen]
                    )

    def lease(self, webhook: Webhook) -> Lease:
        """The lease on `webhook`, not acquired yet."""
        return Lease(self._table, f"{_partition(webhook)}-lease", self._lease_duration)


def row_key(kind: str, id_: str) -> str:
    """The row key for an id of this kind. A hash, so that any id is a valid key."""
    return hashlib.sha256(f"{kind} {id_}".encode(errors="backslashreplace")).hexdigest()


def _partition(webhook: Webhook) -> str:
    return row_key("webhook", webhook.key)
