"""Everything on the queues, taken and released: for stopped consumers alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.storage.clients import connect
from shared.storage.connections import Connection
from shared.storage.errors import is_missing, reason
from tools.held_messages import HeldMessages
from tools.localhost.function_app import ToolError
from tools.message_facts import content_of, facts

# The id of an event, and its region: with geo-replication, events of one push share an id.
EventKey = tuple[str, str | None]


@dataclass
class Queued:
    """The events on each queue, the ids of the dead letters, and what was out of reach.

    `absent` are the queues that do not exist.
    """

    events: dict[str, set[EventKey]] = field(default_factory=dict)
    dead_letters: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


async def take_and_release(
    connection: Connection,
    queues: Sequence[str],
    hold: int,
    started: Callable[[int], None],
    advanced: Callable[[], None],
) -> Queued:
    """Takes every message on `queues`, notes its id, and releases it. Raises ToolError."""
    found = Queued()
    async with connect(connection) as service:
        for queue in queues:
            found.events[queue] = set()
            held = HeldMessages(service.get_queue_client(queue), hold)
            try:
                there = await held.count()
                started(there)
                try:
                    async for page in held.pages(there):
                        for message in page:
                            _note(found, queue, content_of(message.content))
                            advanced()
                finally:
                    await held.release(started, advanced)
            except Exception as error:  # noqa: BLE001 (on unusual responses the SDK raises anything)
                if is_missing(error):
                    found.absent.append(queue)
                    continue
                raise ToolError(f"{queue} cannot be read: {reason(error)}.") from None
            if hidden := held.elsewhere + held.unreleased:
                found.errors.append(
                    f"{queue}: {hidden} messages are in another reader's hand or could not be made "
                    f"visible again; with the same --hold until {held.back_at().isoformat()} at "
                    "the latest."
                )
    return found


def _note(found: Queued, queue: str, content: Any) -> None:
    about = facts(content)
    if about.id is None:
        return
    if about.reason is None:
        found.events[queue].add((about.id, content.get("acrregion")))
    else:
        found.dead_letters.add(about.id)
