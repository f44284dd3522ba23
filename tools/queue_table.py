"""The messages on the queues, as tables."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError
from azure.storage.queue.aio import QueueServiceClient
from rich.markup import escape
from rich.table import Table

from shared.core.text import clip
from shared.storage.clients import connect
from shared.storage.connections import Connection
from shared.storage.errors import is_missing, reason
from shared.storage.transport import MESSAGES_BYTES, PAGE_BYTES, responses_up_to
from tools.localhost.function_app import ToolError
from tools.message_facts import content_of, facts, violation

# The most that one peek returns.
# https://learn.microsoft.com/rest/api/storageservices/peek-messages
MOST_MESSAGES = 32


@dataclass(frozen=True)
class Queue:
    """A queue: its length, and its first messages, parsed where they are JSON."""

    name: str
    length: int
    messages: list[Any]


async def peek(connection: Connection, name: str | None = None) -> AsyncIterator[Queue]:
    """The queue `name`, or every queue of the account, without taking a message.

    Raises ToolError where Storage does not respond.
    """
    async with connect(connection) as service:
        try:
            names = [name] if name else await _names(service)
            for each in sorted(filter(None, names)):
                client = service.get_queue_client(each)
                try:
                    count = (await client.get_queue_properties()).approximate_message_count
                    with responses_up_to(MESSAGES_BYTES):
                        messages = await client.peek_messages(max_messages=MOST_MESSAGES)
                except AzureError as error:
                    if not is_missing(error):
                        raise
                    if name:
                        raise ToolError(f"There is no queue {name}.") from None
                    continue  # it was deleted in between
                yield Queue(each, count or 0, [content_of(message.content) for message in messages])
        except AzureError as error:
            raise ToolError(f"The queues cannot be read: {reason(error)}.") from None


async def _names(service: QueueServiceClient) -> list[str | None]:
    with responses_up_to(PAGE_BYTES):
        return [queue.name async for queue in service.list_queues()]


def table() -> Table:
    """An empty table for `add`."""
    grid = Table(title="Queues", title_justify="left")
    for heading in ("queue", "message", "about"):
        grid.add_column(heading, overflow="fold")
    return grid


def add(grid: Table, queue: Queue) -> None:
    """Adds the messages of `queue`: events, or rejected deliveries with their reasons."""
    rows = [_row(message) for message in queue.messages] or [("(empty)", "")]
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        grid.add_row(
            escape(queue.name) if number == 0 else "", *map(printable, row), end_section=last
        )
    if (more := queue.length - len(queue.messages)) > 0:
        grid.add_row("", f"… and {more} more", "", end_section=True)


def fact_table(queue: Queue) -> Table:
    """The facts of the first messages on `queue`, with its approximate length as the title."""
    title = f"{printable(queue.name)}: about {queue.length} messages"
    grid = Table(title=title, title_justify="left")
    for heading in ("id", "time", "registry", "repository", "detail"):
        grid.add_column(heading, overflow="fold")
    for message in queue.messages:
        about = facts(message)
        cells = (about.id, about.time, about.registry, about.repository, about.detail)
        grid.add_row(*(printable(cell or "") for cell in cells))
    if (more := queue.length - len(queue.messages)) > 0:
        grid.add_row(f"… and {more} more")
    return grid


def _row(message: Any) -> tuple[str, str]:
    match message:
        case {"specversion": str(), "type": str(type_), "subject": str(subject)}:
            return clip(type_.rpartition(".")[2], 80), clip(subject, 200)
        case {"reason": str(reason), "status": int(status), "errors": [*errors]}:
            return clip(f"{reason} ({status})", 80), clip("\n".join(map(violation, errors)), 400)
        case _:
            return "(not ours)", clip(str(message), 200)


def printable(text: str) -> str:
    """`text` without control characters for a terminal, and without rich's markup."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))
