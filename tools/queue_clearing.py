"""Emptying the queues of an account."""

from collections.abc import AsyncIterator

from azure.core.exceptions import AzureError
from azure.storage.queue.aio import QueueServiceClient

from shared.storage.clients import connect
from shared.storage.connections import Connection
from shared.storage.errors import is_missing, reason
from tools.localhost.function_app import ToolError
from tools.localhost.processes import ACCOUNT, KEY


def require_meant(service: QueueServiceClient, named: str | None) -> None:
    """Raises ToolError unless `service` is an emulator's, or `named` is its account."""
    account = str(service.account_name)
    # Both are published, and the same in every emulator. No other account has the key.
    emulator = account == ACCOUNT and getattr(service.credential, "account_key", "") == KEY
    if named is not None and named != account:
        raise ToolError(f"The settings lead to the account {account}, not to {named}.")
    if named is None and not emulator:
        raise ToolError(
            f"The settings lead to the account {account}, which is no emulator. "
            f"If you mean to empty its queues, add: --account {account}"
        )


async def lengths(connection: Connection, named: str | None) -> dict[str, int]:
    """How many messages are on each queue that is not empty. Raises ToolError."""
    async with connect(connection) as service:
        require_meant(service, named)
        try:
            found = {}
            async for queue in service.list_queues():
                name = str(queue.name)
                properties = await service.get_queue_client(name).get_queue_properties()
                found[name] = properties.approximate_message_count or 0
        except AzureError as error:
            raise ToolError(f"The queues cannot be read: {reason(error)}.") from None
        return {name: length for name, length in sorted(found.items()) if length}


async def clear(connection: Connection, named: str | None, queues: list[str]) -> AsyncIterator[str]:
    """Empties each of `queues`, and yields its name when that is done. Raises ToolError."""
    async with connect(connection) as service:
        require_meant(service, named)
        for queue in queues:
            try:
                await service.get_queue_client(queue).clear_messages()
            except AzureError as error:
                if not is_missing(error):  # else it was deleted meanwhile
                    raise ToolError(f"{queue} cannot be emptied: {reason(error)}.") from None
            yield queue
