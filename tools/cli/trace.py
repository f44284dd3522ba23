"""`trace`: the story of one delivery."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tools.cli.common import LocalQueuePort, console, errors, exit_statuses, run, say
from tools.cli.delivery_logs import Webhooks, app_of
from tools.cli.output import AsJson, emit

if TYPE_CHECKING:
    from tools.recovery.trace import Trace


def command(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of the event.")],
    webhook: Webhooks = None,
    as_json: AsJson = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Tell what is known of the delivery ID, from all that can be asked without taking a message.

    Exit status: 0 where something is known and every source responded, else 1.
    """
    from tools.recovery import trace
    from tools.recovery.sources import sources

    with exit_statuses():
        app, settings = app_of(queue_port, webhook, require_webhook=False)
        found: list[Trace] = []

        async def ask() -> None:
            async with sources(app, settings) as opened:
                found.append(await trace.trace(opened, id_))

        run(ask())
        if as_json:
            emit({"id": id_, **asdict(found[0])})
        else:
            _show(found[0])
        for line in (*found[0].unseen, *found[0].errors):
            say(errors, line)
        say(errors, f"The log has the rest. Ask Application Insights:\n\n{trace.query(id_)}")
    if found[0].errors or not found[0].steps:
        raise typer.Exit(1)


def _show(found: "Trace") -> None:
    from rich.table import Table

    from tools.queue_table import printable

    if not found.steps:
        say(console, "Nothing is known of it.")
        return
    grid = Table()
    for heading in ("source", "time", "what"):
        grid.add_column(heading, overflow="fold")
    for step in found.steps:
        cells = (step["source"], step["time"], step["what"])
        grid.add_row(*(printable(cell or "") for cell in cells))
    console.print(grid)
