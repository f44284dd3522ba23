"""The queues of a storage account."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError

from shared.storage import credentials
from shared.storage.clients import check
from shared.storage.connections import Connection, Identity
from shared.storage.depth import Depth
from shared.storage.errors import StorageUnavailable, is_retryable
from shared.storage.messages import MessageClient
from shared.storage.retry import retry_until
from shared.storage.transport import session, transport

if TYPE_CHECKING:
    from shared.storage.inspection import QueueInspection


class StorageQueues:
    """The queues of one storage account.

    Its clients belong to the event loop that first used them. On another loop, new ones are made.
    """

    def __init__(self, connection: Connection) -> None:
        """Raises ValueError where `connection` could never reach an account."""
        check(connection)
        if isinstance(connection, Identity):
            credentials.prepare(connection.principal)
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._messages: MessageClient | None = None
        self._inspection: QueueInspection | None = None

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        """Returns once Storage has confirmed `message` on `queue`. Creates a missing queue.

        The message is base64-encoded, as Functions consumers expect, and never expires. Errors
        that may pass are retried until the deadline, so a message can be stored twice.
        https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue

        Args:
            queue: The queue's name.
            message: At most MAX_MESSAGE_BYTES.
            deadline: A time of the running loop's clock.
            request_id: Names the request in Storage's own logs.

        Raises:
            StorageUnavailable: It was not confirmed in time.

        """
        client = self._sender()
        try:
            await retry_until(
                deadline, lambda: _send(client, queue, message, request_id), is_retryable
            )
        except Exception as error:  # on unusual responses azure.core raises anything
            raise StorageUnavailable(queue, error) from error

    async def probe(self, queue: str, deadline: float) -> None:
        """As `QueueInspection.probe`. Raises StorageUnavailable."""
        await (await self._inspector()).probe(queue, deadline)

    async def depth(self, queue: str, deadline: float) -> Depth:
        """As `QueueInspection.depth`. Raises StorageUnavailable."""
        return await (await self._inspector()).depth(queue, deadline)

    async def close(self) -> None:
        """Closes the connections."""
        for client in (self._messages, self._inspection):
            if client:
                await client.close()
        self._loop = self._messages = self._inspection = None

    def _sender(self) -> MessageClient:
        self._follow_loop()
        if self._messages is None:
            self._messages = MessageClient(
                self._connection, transport(session(), closes_session=True)
            )
        return self._messages

    async def _inspector(self) -> "QueueInspection":
        # Deliveries share the event loop: none may wait for this import.
        await asyncio.to_thread(import_module, "shared.storage.inspection")
        from shared.storage.inspection import QueueInspection

        self._follow_loop()
        if self._inspection is None:
            self._inspection = QueueInspection(self._connection)
        return self._inspection

    def _follow_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._messages, self._inspection = loop, None, None


async def _send(client: MessageClient, queue: str, message: bytes, request_id: str | None) -> None:
    try:
        await client.put(queue, message, request_id)
    except HttpResponseError as error:
        if error.status_code != 404:
            raise
        await client.create(queue, request_id)
        await client.put(queue, message, request_id)
