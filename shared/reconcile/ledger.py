"""The ledger: which deliveries were recovered already, so that no run recovers them again."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode

from shared.core.webhooks import Webhook
from shared.reconcile.delivery_log import Entry, Verdict
from shared.reconcile.lease import Lease
from shared.reconcile.table import connect, table_call
from shared.storage.connections import Connection
from shared.storage.transport import PAGE_BYTES, responses_up_to

_READ_ALL_SECONDS = 60

# https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
_TRANSACTION_ROWS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A recovered delivery.

    Args:
        key: The row key.
        at: When it was recovered.
        outcome: How that ended. None in a row of version 0.9.0, which had no such column.
        queues: The queues that it went to. None where the row does not say.
        region: The `region` parameter of its webhook's URL.

    """

    key: str
    at: datetime
    outcome: str | None = None
    queues: tuple[str, ...] | None = None
    region: str | None = None


class Ledger:
    """A table with a partition for each webhook and a row for each recovered delivery.

    One more partition has the deliveries that were sent again from the fallback log, which does not
    name a webhook: there, `webhook` is None.

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

    async def rows(self, key: str | None = None) -> list[Row]:
        """The rows of all partitions, or those with this key. Empty where there is no table."""
        chosen = "RowKey ne 'lease'" if key is None else "RowKey eq @key"
        found = self._table.query_entities(chosen, parameters={"key": key or ""})
        async with table_call(_READ_ALL_SECONDS):
            try:
                with responses_up_to(PAGE_BYTES):
                    return [_row(row) async for row in found]
            except ResourceNotFoundError:
                return []

    async def add(
        self,
        webhook: Webhook | None,
        key: str,
        now: datetime,
        *,
        outcome: str | None = None,
        queues: Collection[str] | None = None,
        region: str | None = None,
    ) -> None:
        """Enters a delivery that was recovered."""
        about = {
            "outcome": outcome,
            "queues": None if queues is None else ",".join(queues),
            "region": region,
        }
        known = {name: value for name, value in about.items() if value is not None}
        async with table_call():
            await self._table.upsert_entity(
                {"PartitionKey": _partition(webhook), "RowKey": key, "at": now, **known},
                mode=UpdateMode.REPLACE,
            )

    async def remove(self, webhook: Webhook | None, keys: Collection[str]) -> None:
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

    async def forget_resent(self, horizon: datetime) -> None:
        """Removes the rows of the fallback log's deliveries from before `horizon`."""
        found = self._table.query_entities(
            "PartitionKey eq @partition and at lt @horizon",
            parameters={"partition": _partition(None), "horizon": horizon},
            select=["RowKey"],
        )
        async with table_call(_READ_ALL_SECONDS):
            try:
                with responses_up_to(PAGE_BYTES):
                    keys = [row["RowKey"] async for row in found]
            except ResourceNotFoundError:
                keys = []
        await self.remove(None, keys)

    def lease(self, webhook: Webhook | None) -> Lease:
        """The lease on the partition of `webhook`, not acquired yet."""
        return Lease(self._table, f"{_partition(webhook)}-lease", self._lease_duration)


def row_key(kind: str, id_: str) -> str:
    """The row key for an id of this kind. A hash, so that any id is a valid key."""
    return hashlib.sha256(f"{kind} {id_}".encode(errors="backslashreplace")).hexdigest()


def entry_key(entry: Entry) -> str:
    """The row key of an entry of the delivery log."""
    return row_key("entry" if entry.verdict is Verdict.MALFORMED else "event", entry.id)


def _partition(webhook: Webhook | None) -> str:
    return row_key("webhook", webhook.key) if webhook else row_key("fallback log", "")


def _row(entity: Mapping[str, Any]) -> Row:
    queues = entity.get("queues")
    named = None if queues is None else tuple(filter(None, queues.split(",")))
    key, at = entity["RowKey"], entity["at"]
    return Row(key, at, entity.get("outcome"), named, entity.get("region"))
