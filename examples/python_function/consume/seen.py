"""Reserves events in the table `seen`, so that copies of an event are not processed again."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError
from azure.core.messaging import CloudEvent
from azure.data.tables import TableClient, TableServiceClient, UpdateMode
from azure.identity import DefaultAzureCredential

# Longer than the work takes, and shorter than all attempts to process a message.
RESERVED = timedelta(seconds=60)


class BusyError(Exception):
    """Another message with the same event is being processed."""


@cache
def connect() -> TableClient:
    if uri := os.environ.get("ConsumerStorage__tableServiceUri"):
        account = TableServiceClient(uri, credential=DefaultAzureCredential())
    else:
        account = TableServiceClient.from_connection_string(os.environ["AcrEventsStorage"])
    return account.create_table_if_not_exists("seen")


def reserve(queue: str, event: CloudEvent[Any], message: str) -> dict[str, Any] | None:
    """Reserves an event for a message, or returns None if the event is processed already."""
    key = hashlib.sha256(f"{event.source} {event.id}".encode()).hexdigest()
    row = {"PartitionKey": queue, "RowKey": key, "message": message, "done": False}
    table = connect()
    try:
        table.create_entity(row)  # of several at once, one succeeds
    except ResourceExistsError:
        found = table.get_entity(queue, key)
        if found["done"]:
            return None
        # The same message is here again only if its last attempt failed or was killed.
        since = found.metadata["timestamp"] or datetime.now(UTC)
        if found["message"] != message and datetime.now(UTC) - since < RESERVED:
            raise BusyError("another message with this event is being processed") from None
        table.update_entity(
            row,
            UpdateMode.REPLACE,
            etag=found.metadata["etag"],
            match_condition=MatchConditions.IfNotModified,
        )
    return row


def done(row: dict[str, Any]) -> None:
    connect().upsert_entity({**row, "done": True})
