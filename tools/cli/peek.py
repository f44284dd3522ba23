"""`peek`: show the messages on the queues."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from tools.cli.common import (
    LocalQueuePort,
    Target,
    console,
    errors,
    exit_statuses,
    progress_bar,
    run,
    say,
    target,
)
from tools.cli.output import Yes, confirm, emit
from tools.localhost.function_app import ToolError

if TYPE_CHECKING:
    from shared.storage.connections import Connection


def command(
    queue: Annotated[str | None, typer.Argument(help="A queue; without it, all.")] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Count every dead letter: takes and releases them all."),
    ] = False,
    hold: Annotated[
        int, typer.Option(help="Seconds for which --all hides messages.", min=1, max=604800)
    ] = 300,
    yes: Yes = False,
    as_json: Annotated[bool, typer.Option("--json", help="Whole messages, a line each.")] = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Show the messages on the queues, without taking them: up to 32 visible ones of each.

    Exit status: 0 where every queue could be read, else 1.
    """
    from tools import queue_table

    async def show(connection: "Connection") -> None:
        queues = [seen async for seen in queue_table.peek(connection, queue)]
        if as_json:
            for message in (message for seen in queues for message in seen.messages):
                emit(message)
            for more in (seen for seen in queues if seen.length > len(seen.messages)):
                say(errors, f"{more.name} has {more.length - len(more.messages)} more.")
            return
        for seen in queues:
            console.print(queue_table.fact_table(seen))
        if not queues:
            console.print("There is no queue yet.")

    with exit_statuses():
        found = target(queue_port)
        if everything:
            _count(found, queue, hold, yes=yes, as_json=as_json)
        else:
            run(show(found.settings.storage))


def _count(found: Target, queue: str | None, hold: int, *, yes: bool, as_json: bool) -> None:
    """Counts the dead letters by reason and registry."""
    from rich.table import Table

    from shared.core.routing import Routes
    from tools.recovery import dead_letter_count

    rejected = Routes.load(found.app_settings).rejected_queue
    if queue not in (None, rejected):
        raise ToolError(f"--all is for {rejected}: peek takes no message off an event queue.")
    say(
        errors,
        f"This takes every message off {rejected}. Until the end, or for {hold} seconds if it is "
        "killed, replay, discard and peek do not see them. It raises their dequeue counts.",
    )
    confirm("Take and release all dead letters?", yes=yes)
    counts: Counter[tuple[str, str]] = Counter()
    with progress_bar() as progress:
        task = progress.add_task("Counting", total=None)
        hidden = dead_letter_count.Hidden()
        counting = dead_letter_count.count(
            found.settings.storage,
            rejected,
            hold,
            counts,
            hidden,
            lambda total: progress.reset(task, total=total),
            lambda: progress.advance(task),
        )
        run(counting)
    grid = Table("reason", "registry", "dead letters")
    for (reason, registry), number in counts.most_common():
        if as_json:
            emit({"reason": reason, "registry": registry or None, "deadLetters": number})
        grid.add_row(reason, registry, str(number))
    if not as_json:
        console.print(grid)
    if hidden.messages:
        say(
            errors,
            f"{hidden.messages} messages are in another reader's hand, or not visible again yet. "
            f"With the same --hold they are at {hidden.back_at} at the latest.",
        )
        raise typer.Exit(1)
