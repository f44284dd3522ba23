"""A circuit breaker for sending: events for other queues must not wait for a failing queue."""

from collections import Counter

from shared.pipeline import MessageSender
from shared.storage.errors import StorageUnavailable

# A queue that failed so often in a row is not tried again in this run.
FAILURE_THRESHOLD = 10


class CircuitBreaker:
    """Sends, but not to a queue that failed too often in a row."""

    def __init__(self, sender: MessageSender) -> None:
        self._sender = sender
        self._failures: Counter[str] = Counter()
        self._last: dict[str, StorageUnavailable] = {}

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        """As the sender's. Where the circuit is open, raises the last StorageUnavailable."""
        if self._failures[queue] >= FAILURE_THRESHOLD:
            raise self._last[queue]
        try:
            await self._sender.send(queue, message, deadline, request_id)
        except StorageUnavailable as error:
            self._failures[queue] += 1
            self._last[queue] = error
            raise
        self._failures[queue] = 0
