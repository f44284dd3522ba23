"""What lies on the queues, as tables."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError
from azure.storage.queue import BinaryBase64DecodePolicy
from rich.markup import escape
from rich.table import Table

from shared.queues import connect
from shared.text import clip
from tools.processes import ToolError

MOST_MESSAGES = 32  # as many as Storage shows at once


@dataclass(frozen=True)
class Queue:
    """A queue as it was seen: its first messages, parsed where they are JSON."""

    name: str
    length: int
    messages: list[Any]


async def peek(connection_string: str, name: str | None = None) -> AsyncIterator[Queue]:
    """The queue `name`, or every queue of the account, without taking a message.

    Raises ToolError where Storage does not answer.
    """
    async with connect(connection_string) as service:
        try:
            names = [name] if name else [queue.name async for queue in service.list_queues()]
            for each in sorted(filter(None, names)):
                client = service.get_queue_client(
                    each, message_decode_policy=BinaryBase64DecodePolicy()
                )
                count = (await client.get_queue_properties()).approximate_message_count
                messages = await client.peek_messages(max_messages=MOST_MESSAGES)
                yield Queue(each, count or 0, [_parsed(message.content) for message in messages])
        except AzureError as error:
            reason = str(error).splitlines()[0]
            raise ToolError(f"The queues cannot be read: {reason}") from None


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


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
        grid.add_row(escape(queue.name) if number == 0 else "", *map(escape, row), end_section=last)
    if (more := queue.length - len(queue.messages)) > 0:
        grid.add_row("", f"… and {more} more", "", end_section=True)


def _row(message: Any) -> tuple[str, str]:
    match message:
        case {"specversion": _, "type": type_, "subject": subject}:
            return clip(str(type_).rpartition(".")[2], 80), clip(str(subject), 200)
        case {"reason": reason, "status": status, "errors": [*errors]}:
            lines = [f"{error['pointer']} {error['detail']}".strip() for error in errors]
            return f"{reason} ({status})", clip("\n".join(lines), 400)
        case _:
            return "(not ours)", clip(str(message), 200)
