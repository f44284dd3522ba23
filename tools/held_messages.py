"""Messages in hand: taken off a queue, hidden from other readers, and released at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from shared.storage.transport import MESSAGES_BYTES, responses_up_to

# A message in hand is hidden from other readers for so long, even if the command is killed.
# https://learn.microsoft.com/rest/api/storageservices/get-messages
VISIBILITY_TIMEOUT_SECONDS = 300

# For one message, or one page of them.
CALL_SECONDS = 15

# The most that Storage returns at once.
# https://learn.microsoft.com/rest/api/storageservices/get-messages
_PAGE_MESSAGES = 32

_T = TypeVar("_T")


class HeldMessages:
    """The messages that this process took off one queue.

    They are hidden until `release`, so that each is received once. `elsewhere` is the number of
    messages that another reader had in hand when the queue had no more for us. `unreleased` is the
    number that could not be released.
    """

    def __init__(self, client: QueueClient, hold: int) -> None:
        self.elsewhere = 0
        self.unreleased = 0
        self._client = client
        self._hold = hold
        # The pop receipts, by message id.
        self._receipts: dict[str, str | None] = {}

    def back_at(self) -> datetime:
        """When a message is visible again that was taken now with the same visibility timeout."""
        at = datetime.now(UTC) + timedelta(seconds=self._hold)
        return at.replace(microsecond=0)

    async def count(self) -> int:
        """The number of messages on the queue, those in hand included. It is never too low.

        https://learn.microsoft.com/rest/api/storageservices/get-queue-metadata
        """
        async with asyncio.timeout(CALL_SECONDS):
            properties = await self._client.get_queue_properties()
        return properties.approximate_message_count or 0

    async def pages(self, most: int) -> AsyncIterator[list[QueueMessage]]:
        """Takes up to `most` messages, a page at a time, each message once."""
        met = 0
        while met < most:
            page = await finish_first(self._take(min(_PAGE_MESSAGES, most - met)))
            if page is None:
                self.elsewhere = max(0, await self.count() - len(self._receipts))
                return
            met += len(page)
            yield page

    async def _take(self, size: int) -> list[QueueMessage] | None:
        """Up to `size` messages that are not in hand yet. None where the queue has no more."""
        with responses_up_to(MESSAGES_BYTES):
            messages = [
                message
                async for message in self._client.receive_messages(
                    max_messages=size, messages_per_page=size, visibility_timeout=self._hold
                )
            ]
        # A message that is held for longer than it is hidden is received again: it is known.
        page = [message for message in messages if message.id not in self._receipts]
        self._receipts |= {message.id: message.pop_receipt for message in messages}
        return page if messages else None

    async def replace(self, message: QueueMessage, content: bytes) -> None:
        """Replaces the content of `message`, which stays in hand."""
        await finish_first(self._replace(message, content))

    async def _replace(self, message: QueueMessage, content: bytes) -> None:
        updated = await self._client.update_message(
            message.id,
            pop_receipt=self._receipts[message.id],
            content=content,
            visibility_timeout=self._hold,
        )
        self._receipts[message.id] = updated.pop_receipt

    async def delete(self, message: QueueMessage) -> None:
        """Deletes `message` from the queue."""
        await self._client.delete_message(message.id, self._receipts[message.id])
        del self._receipts[message.id]

    async def release(
        self,
        started: Callable[[int], None] = lambda _: None,
        advanced: Callable[[], None] = lambda: None,
    ) -> None:
        """Makes the messages in hand visible to other readers again.

        `started` gets their number, `advanced` is called after each. A message that cannot be
        released becomes visible when its time is over.
        """
        held = list(self._receipts.items())
        self._receipts = {}
        started(len(held))

        async def one(id_: str, receipt: str | None) -> None:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    await self._client.update_message(
                        id_, pop_receipt=receipt, visibility_timeout=0
                    )
            except Exception:  # noqa: BLE001 (on unusual responses the SDK raises anything)
                self.unreleased += 1
            advanced()

        for start in range(0, len(held), _PAGE_MESSAGES):
            await asyncio.gather(*(one(*each) for each in held[start : start + _PAGE_MESSAGES]))


async def finish_first(call: Coroutine[Any, Any, _T]) -> _T:
    """Awaits a call that hides messages. A cancellation waits for its end.

    Only then the receipts for releasing the messages are known.
    """

    async def bounded() -> _T:
        async with asyncio.timeout(CALL_SECONDS):
            return await call

    running = asyncio.create_task(bounded())
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        with suppress(Exception):
            await running
        raise
