"""Queues in memory, without Storage."""

import json
from collections import defaultdict
from typing import Any

from shared.core.limits import MAX_MESSAGE_BYTES
from shared.storage.depth import Depth
from shared.storage.errors import StorageUnavailable


class InMemoryQueues:
    """Keeps messages in memory. Queues in `broken` accept none."""

    def __init__(self, *broken: str) -> None:
        self.messages: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._broken = broken

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        """Keeps `message`. Raises StorageUnavailable if `queue` is broken."""
        assert deadline > 0
        assert len(message) <= MAX_MESSAGE_BYTES
        if queue in self._broken:
            raise StorageUnavailable(queue, TimeoutError())
        self.messages[queue].append(json.loads(message))

    async def probe(self, queue: str, deadline: float) -> None:
        """Not used."""
        raise NotImplementedError

    async def depth(self, queue: str, deadline: float) -> Depth:
        """Not used."""
        raise NotImplementedError

    async def close(self) -> None:
        """Not used."""
        raise NotImplementedError
