"""`redeliver`: send deliveries of the registry's delivery log again."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tools.cli.common import (
    LocalQueuePort,
    console,
    errors,
    exit_statuses,
    progress_bar,
    run,
    say,
)
from tools.cli.delivery_logs import Since, Until, Webhooks, app_of
from tools.cli.output import AsJson, emit, utc
from tools.localhost.function_app import ToolError

if TYPE_CHECKING:
    from tools.recovery.redeliver import Redelivered, Redelivery


def command(
    id_: Annotated[
        list[str] | None, typer.Option("--id", help="Only this event id; repeatable.")
    ] = None,
    since: Since = None,
    until: Until = None,
    webhook: Webhooks = None,
    queue: Annotated[
        str | None, typer.Option(help="Send to this one of their queues alone.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; change nothing.")
    ] = False,
    as_json: AsJson = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Send deliveries again that the registry's delivery log lists, whatever their response was.

    This is the way back after a queue was deleted. Events that are still there come twice, under
    the same id. Exit status: 0 where every chosen delivery was sent, else 1.
    """
    from tools.recovery.redeliver import Choice, Redelivery
    from tools.recovery.sources import Period, sources

    with exit_statuses():
        if not (id_ or since or until):
            raise ToolError("Choose deliveries with --id, --since or --until.")
        app, settings = app_of(queue_port, webhook)
        if queue and queue not in app.routes.queues:
            raise ToolError(f"No route leads to the queue {queue}.")
        choice = Choice(frozenset(id_ or ()), Period(utc(since), utc(until)), queue)
        begun: list[Redelivery] = []

        with progress_bar() as progress:
            task = progress.add_task("Redelivering", total=None)

            def seen(result: "Redelivered") -> None:
                progress.advance(task)
                if as_json:
                    emit(asdict(result))

            async def redeliver() -> None:
                async with sources(app, settings) as opened:
                    begun.append(Redelivery(opened, choice, dry_run, seen))
                    await begun[0].run()

            try:
                run(redeliver())
            finally:
                progress.stop()
                for each in begun:
                    _show(each, as_json=as_json, dry_run=dry_run)
    if not begun[0].is_complete:
        raise typer.Exit(1)


def _show(redelivery: "Redelivery", *, as_json: bool, dry_run: bool) -> None:
    from rich.table import Table

    if not as_json:
        grid = Table(
            "result", "deliveries", title="Dry run: nothing was changed" if dry_run else None
        )
        for name, count in redelivery.counts.most_common() or [("nothing is chosen", 0)]:
            grid.add_row(name, str(count))
        console.print(grid)
    for id_ in redelivery.missing:
        say(errors, f"No delivery log that was read lists {id_!r}.")
    for error in redelivery.errors:
        say(errors, error)
