"""`peek`: show the messages on the queues."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tools.cli.common import LocalQueuePort, console, errors, exit_statuses, run, say, target

if TYPE_CHECKING:
    from shared.storage.connections import Connection


def command(
    queue: Annotated[str | None, typer.Argument(help="A queue; without it, all.")] = None,
    queue_port: LocalQueuePort = None,
    as_json: Annotated[bool, typer.Option("--json", help="Whole messages, a line each.")] = False,
) -> None:
    """Show the messages on the queues, without taking them."""
    from tools import queue_table

    async def show(connection: "Connection") -> None:
        queues = [seen async for seen in queue_table.peek(connection, queue)]
        if as_json:
            for message in (message for seen in queues for message in seen.messages):
                print(json.dumps(message))
            for more in (seen for seen in queues if seen.length > len(seen.messages)):
                say(errors, f"{more.name} has {more.length - len(more.messages)} more.")
            return
        grid = queue_table.table()
        for seen in queues:
            queue_table.add(grid, seen)
        console.print(grid if queues else "There is no queue yet.")

    with exit_statuses():
        run(show(target(queue_port).settings.storage))
