"""A lease on a webhook: a row in the table of the ledger, with the time when the lease ends.

The singleton lock of the timer does not cover `python -m tools reconcile`, so runs need their own
lock (docs/decisions/0007).
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from shared.reconcile.table import CALL_SECONDS, table_call

_ROW_KEY = "lease"


class LeaseHeldError(Exception):
    """Another run holds the lease."""


class Lease:
    """The right to recover the missed deliveries of one webhook.

    A run holds the lease while the row is as this run wrote it, even past the end of the lease.
    """

    def __init__(self, table: TableClient, partition: str, duration: timedelta) -> None:
        self._table = table
        self._partition = partition
        self._duration = duration
        self._etag: str | None = None
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    async def acquire_or_renew(self) -> bool:
        """Makes sure that this run holds the lease.

        Returns whether this run held the lease since the last call. Then no other run can have
        worked on the webhook. Raises LeaseHeldError where another run holds it, and
        LedgerUnavailable.
        """
        if self._etag and datetime.now(UTC) < self._renew_at:
            return True
        async with table_call(passed_on=LeaseHeldError):
            return await self._write(self._etag) or await self._acquire()

    async def release(self) -> None:
        """Lets other runs acquire the lease. Where that fails, the lease ends by itself."""
        if self._etag:
            with suppress(Exception):
                async with asyncio.timeout(CALL_SECONDS):
                    await self._table.delete_entity(
                        self._partition,
                        _ROW_KEY,
                        etag=self._etag,
                        match_condition=MatchConditions.IfNotModified,
                    )
        self._etag = None

    async def _acquire(self) -> bool:
        """Acquires a lease that nobody holds. Always False: this run did not hold it before."""
        try:
            self._written(await self._create())
        except ResourceExistsError:
            try:
                found = await self._table.get_entity(self._partition, _ROW_KEY)
            except ResourceNotFoundError:
                # Released in between. The next run is soon enough.
                raise LeaseHeldError from None
            if found["until"] > datetime.now(UTC) or not await self._write(found.metadata["etag"]):
                raise LeaseHeldError from None
        return False

    async def _create(self) -> Mapping[str, Any]:
        """The new row's metadata. Creates the table, but only where it is missing.

        A role on the table alone does not allow creating it. Raises ResourceExistsError.
        """
        try:
            return await self._table.create_entity(self._row())
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):
                await self._table.create_table()
        return await self._table.create_entity(self._row())

    async def _write(self, etag: str | None) -> bool:
        """Replaces the row that has this etag. False where it has changed since."""
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

    def _written(self, metadata: Mapping[str, Any]) -> None:
        self._etag = str(metadata["etag"])
        self._renew_at = datetime.now(UTC) + self._duration / 3

    def _row(self) -> dict[str, Any]:
        until = datetime.now(UTC) + self._duration
        return {"PartitionKey": self._partition, "RowKey": _ROW_KEY, "until": until}
