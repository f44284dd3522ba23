"""`clear`: empty the local queues."""

from typing import Annotated

import typer

from tools.cli.common import LocalQueuePort, console, exit_statuses, run, say, target


def command(
    queue_port: LocalQueuePort = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    account: Annotated[
        str | None, typer.Option(help="The storage account, where it is no emulator.")
    ] = None,
) -> None:
    """Remove every message from every queue of Azurite, after asking.

    Exit status: 0 if the queues are empty, 1 if not, also where the answer is no.
    """
    from tools import queue_clearing

    with exit_statuses():
        connection = target(queue_port).settings.storage
        found: dict[str, int] = {}

        async def look() -> None:
            found.update(await queue_clearing.lengths(connection, account))

        async def clear() -> None:
            async for queue in queue_clearing.clear(connection, account, list(found)):
                say(console, f"{queue} is empty.")

        run(look())
        if not found:
            say(console, "No queue has messages.")
            return
        for queue, length in found.items():
            say(console, f"{queue}: {length} {'message' if length == 1 else 'messages'}")
        if not yes:
            typer.confirm("Remove these messages?", abort=True)
        run(clear())
