"""How much lies on each queue, and for how long: what alerts on unread events look at."""

import asyncio
import logging
from datetime import UTC, datetime

from shared import log
from shared.ingest import Ingest
from shared.queues import StorageUnavailable

# Seconds in which storage has to answer for all queues; nobody waits for it.
WAIT = 30


async def report(ingest: Ingest) -> None:
    """Logs a line for each queue of the routes, and for the one of rejected deliveries."""
    deadline = asyncio.get_running_loop().time() + WAIT
    await asyncio.gather(*(_report(ingest, name, deadline) for name in ingest.routes.queues))


async def _report(ingest: Ingest, queue: str, deadline: float) -> None:
    fields = {"queue": queue, "rejected": queue == ingest.routes.rejected_queue}
    try:
        depth = await ingest.queues.depth(queue, deadline)
    except StorageUnavailable as error:
        log.queue(logging.ERROR, {**fields, "error": str(error)})
        return
    age = (datetime.now(UTC) - depth.oldest).total_seconds() if depth.oldest else 0
    # The clocks of storage and of this machine differ a little.
    numbers = {"messages": depth.messages, "oldest_seconds": max(0, round(age))}
    log.queue(logging.INFO, {**fields, **numbers})
