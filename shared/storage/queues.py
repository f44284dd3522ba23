"""The queues of a storage account."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import BinaryBase64EncodePolicy, StorageErrorCode
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from shared.storage import credentials
from shared.storage.clients import check, connect
from shared.storage.connections import Connection, Identity
from shared.storage.errors import (
    MayNotCreate,
    StorageUnavailable,
    error_code,
    is_denied,
    is_missing,
    is_retryable,
)
from shared.storage.retry import retry_until
from shared.storage.transport import MESSAGES_BYTES, responses_up_to

# Without this value, a message expires after seven days.
# https://learn.microsoft.com/rest/api/storageservices/put-message
NEVER_EXPIRES = -1

# The most that one peek returns. A message that a reader gave back can be behind younger ones.
# https://learn.microsoft.com/rest/api/storageservices/peek-messages
_PEEK_MESSAGES = 32
# Bounds the memory for their responses.
_PEEKS_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Depth:
    """The approximate number of messages on a queue, and when the oldest was inserted.

    The number includes messages that a reader has in hand. The time does not consider them.
    https://learn.microsoft.com/rest/api/storageservices/get-queue-metadata
    """

    messages: int
    oldest: datetime | None


class StorageQueues:
    """The queues of one storage account, with one client each, made on first use.

    A client belongs to the event loop that first used it. On another loop, new clients are made.
    """

    def __init__(self, connection: Connection) -> None:
        """Raises ValueError where `connection` could never reach an account."""
        check(connection)
        if isinstance(connection, Identity):
            credentials.prepare()
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._service: QueueServiceClient | None = None
        self._clients: dict[str, QueueClient] = {}
        self._peeks = asyncio.Semaphore(_PEEKS_AT_A_TIME)

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
        client = self._client(queue)
        try:
            await retry_until(deadline, lambda: _send(client, message, request_id), is_retryable)
        except Exception as error:  # on unusual responses the SDK raises anything
            raise StorageUnavailable(queue, error) from error

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
        if self._service:
            await self._service.close()
        self._loop = self._service = None
        self._clients = {}

    def _client(self, queue: str) -> QueueClient:
        loop = asyncio.get_running_loop()
        if self._service is None or self._loop is not loop:
            self._service = connect(self._connection)
            self._loop = loop
            self._clients = {}
            self._peeks = asyncio.Semaphore(_PEEKS_AT_A_TIME)
        client = self._clients.get(queue)
        if client is None:
            client = self._clients[queue] = self._service.get_queue_client(
                queue, message_encode_policy=BinaryBase64EncodePolicy()
            )
        return client


async def _send(client: QueueClient, message: bytes, request_id: str | None) -> None:
    # The SDK makes an id where it gets none, which costs CPU time.
    options: dict[str, Any] = {"client_request_id": request_id} if request_id else {}
    try:
        await client.send_message(message, time_to_live=NEVER_EXPIRES, **options)
    except ResourceNotFoundError:
        await _create(client)
        await client.send_message(message, time_to_live=NEVER_EXPIRES, **options)


async def _create(client: QueueClient) -> None:
    """Creates the queue, if it does not exist. Raises MayNotCreate."""
    try:
        await client.create_queue()
    except ResourceExistsError as error:
        # Also raised for a queue that is being deleted: it does not exist yet.
        # https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
        if error_code(error) != StorageErrorCode.QUEUE_ALREADY_EXISTS:
            raise
    except HttpResponseError as error:
        if is_denied(error):
            raise MayNotCreate from error
        raise
