"""Looks at the queues of a storage account, with the SDK of queues.

No delivery needs this, so that it is imported when it is first used.
"""

import asyncio

from azure.storage.queue.aio import QueueClient

from shared.storage.clients import connect
from shared.storage.connections import Connection
from shared.storage.depth import Depth
from shared.storage.errors import StorageUnavailable, is_denied, is_missing
from shared.storage.transport import MESSAGES_BYTES, responses_up_to

# The most that one peek returns. A message that a reader gave back can be behind younger ones.
# https://learn.microsoft.com/rest/api/storageservices/peek-messages
_PEEK_MESSAGES = 32
# Bounds the memory for their responses.
_PEEKS_AT_A_TIME = 8


class QueueInspection:
    """Probes and measures queues. Belongs to the event loop on which it is made."""

    def __init__(self, connection: Connection) -> None:
        self._service = connect(connection)
        self._clients: dict[str, QueueClient] = {}
        self._peeks = asyncio.Semaphore(_PEEKS_AT_A_TIME)

    async def probe(self, queue: str, deadline: float) -> None:
        """Returns once Storage has responded for `queue`. A missing queue is no error.

        For an identity that may only send, this shows only that Storage knows the identity.

        Raises StorageUnavailable.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._client(queue).get_queue_properties()
        except Exception as error:
            if not (is_missing(error) or is_denied(error)):
                raise StorageUnavailable(queue, error) from error

    async def depth(self, queue: str, deadline: float) -> Depth:
        """The depth of `queue`: no messages where there is no such queue.

        Raises StorageUnavailable.
        """
        client = self._client(queue)
        try:
            async with asyncio.timeout_at(deadline):
                properties = await client.get_queue_properties()
                async with self._peeks:
                    with responses_up_to(MESSAGES_BYTES):
                        first = await client.peek_messages(max_messages=_PEEK_MESSAGES)
        except Exception as error:
            if is_missing(error):
                return Depth(0, None)
            raise StorageUnavailable(queue, error) from error
        ages = [message.inserted_on for message in first if message.inserted_on]
        return Depth(properties.approximate_message_count or 0, min(ages, default=None))

    async def close(self) -> None:
        """Closes the connections."""
        await self._service.close()

    def _client(self, queue: str) -> QueueClient:
        client = self._clients.get(queue)
        if client is None:
            client = self._clients[queue] = self._service.get_queue_client(queue)
        return client
