"""Discarding: deletes dead letters, after they are in a file."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from azure.storage.queue import QueueMessage

from shared.storage.clients import connect
from shared.storage.connections import Connection
from shared.storage.errors import is_missing, reason
from tools.held_messages import CALL_SECONDS, HeldMessages
from tools.localhost.function_app import ToolError
from tools.message_facts import Facts, Selection, content_of, facts


@dataclass
class Discarded:
    """The result: what was deleted, what was not, and what was out of reach."""

    deleted: list[Facts] = field(default_factory=list)
    failed: int = 0
    others: int = 0
    elsewhere: int = 0
    unreleased: int = 0
    back_at: str = ""


@dataclass(frozen=True)
class Steps:
    """What a discarding calls: for its progress, for permission, and to keep the dead letters.

    `save` returns once they are on disk. Both `allow` and `save` may raise ToolError: then nothing
    is deleted.
    """

    started: Callable[[int], None]
    advanced: Callable[[], None]
    allow: Callable[[list[Facts]], None]
    save: Callable[[Iterable[Any]], None]


async def discard(
    connection: Connection,
    queue: str,
    selection: Selection,
    hold: int,
    steps: Steps,
    result: Discarded,
) -> None:
    """Deletes the dead letters on `queue` that are selected. Raises ToolError.

    All messages are taken, and those that are not deleted are released.
    """
    async with connect(connection) as service:
        held = HeldMessages(service.get_queue_client(queue), hold)
        try:
            there = await held.count()
            steps.started(there)
            chosen: list[tuple[QueueMessage, Facts]] = []
            try:
                async for page in held.pages(there):
                    for message in page:
                        about = facts(content_of(message.content))
                        if selection.matches(about):
                            chosen.append((message, about))
                        else:
                            result.others += 1
                        steps.advanced()
                result.elsewhere = held.elsewhere
                if chosen:
                    steps.allow([about for _, about in chosen])
                    steps.save(_kept(message) for message, _ in chosen)
                    await _delete(held, chosen, result)
            finally:
                await held.release(steps.started, steps.advanced)
                result.unreleased = held.unreleased
                result.back_at = held.back_at().isoformat()
        except ToolError:
            raise
        except Exception as error:  # noqa: BLE001 (on unusual responses the SDK raises anything)
            if not is_missing(error):
                raise ToolError(f"{queue} cannot be read: {reason(error)}.") from None


def _kept(message: QueueMessage) -> dict[str, Any]:
    """A line of the file: the content as the queue had it, and its JSON value."""
    inserted = message.inserted_on
    return {
        "message": message.id,
        "insertedOn": inserted.isoformat() if inserted else None,
        "deadLetter": content_of(message.content),
        "content": message.content,
    }


async def _delete(
    held: HeldMessages, chosen: list[tuple[QueueMessage, Facts]], result: Discarded
) -> None:
    for message, about in chosen:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await held.delete(message)
        except Exception:  # noqa: BLE001 (on unusual responses the SDK raises anything)
            result.failed += 1
        else:
            result.deleted.append(about)
