"""Every dead letter, counted by reason and registry: taken, and released."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from shared.storage.clients import connect
from shared.storage.connections import Connection
from shared.storage.errors import is_missing, reason
from tools.held_messages import HeldMessages
from tools.localhost.function_app import ToolError
from tools.message_facts import content_of, facts


@dataclass
class Hidden:
    """The messages out of reach, and when they are visible again at the latest."""

    messages: int = 0
    back_at: str = ""


async def count(
    connection: Connection,
    queue: str,
    hold: int,
    counts: Counter[tuple[str, str]],
    hidden: Hidden,
    started: Callable[[int], None],
    advanced: Callable[[], None],
) -> None:
    """Counts the messages on `queue` by reason and registry. Raises ToolError."""
    async with connect(connection) as service:
        held = HeldMessages(service.get_queue_client(queue), hold)
        try:
            there = await held.count()
            started(there)
            try:
                async for page in held.pages(there):
                    for message in page:
                        about = facts(content_of(message.content))
                        counts[about.reason or "an event", about.registry or ""] += 1
                        advanced()
            finally:
                await held.release(started, advanced)
                hidden.messages = held.elsewhere + held.unreleased
                hidden.back_at = held.back_at().isoformat()
        except Exception as error:  # noqa: BLE001 (on unusual responses the SDK raises anything)
            if is_missing(error):
                raise ToolError(f"There is no queue {queue}.") from None
            raise ToolError(f"{queue} cannot be read: {reason(error)}.") from None
