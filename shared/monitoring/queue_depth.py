"""The depth of each queue, as log lines. The alerts on unread events query them."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any, Protocol

from shared import log
from shared.core.routing import Routes
from shared.storage.depth import Depth
from shared.storage.errors import StorageUnavailable

# Storage has so long to respond for all queues. No delivery waits for it.
WAIT_SECONDS = 30


class QueueInspector(Protocol):
    """Reads the depth of a queue."""

    async def depth(self, queue: str, deadline: float) -> Depth:
        """The depth of `queue`. Raises StorageUnavailable."""


async def report(routes: Routes, inspector: QueueInspector) -> None:
    """Logs a line for each queue of the routes and for the dead-letter queue."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS

    async def one(queue: str) -> None:
        fields: dict[str, Any] = {"queue": queue, "rejected": queue == routes.rejected_queue}
        try:
            depth = await inspector.depth(queue, deadline)
        except StorageUnavailable as error:
            log.queue(logging.ERROR, {**fields, "error": str(error)})
            return
        age = (datetime.now(UTC) - depth.oldest).total_seconds() if depth.oldest else 0
        # The clocks of Storage and of this machine can differ a little.
        numbers = {"messages": depth.messages, "oldest_seconds": max(0, round(age))}
        log.queue(logging.INFO, {**fields, **numbers})

    await asyncio.gather(*map(one, routes.queues))
