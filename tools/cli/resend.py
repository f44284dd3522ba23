"""`resend`: put the deliveries of the fallback log on their queues."""

from dataclasses import asdict
from pathlib import Path
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
from tools.cli.delivery_logs import Webhooks, app_of
from tools.cli.output import AsJson, emit

if TYPE_CHECKING:
    from tools.recovery.resend import Resending, Resent


def command(
    file: Annotated[
        Path,
        typer.Argument(
            help="Lines acr_lost_delivery, or the JSON of a query in Application Insights."
        ),
    ],
    webhook: Webhooks = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; change nothing.")
    ] = False,
    as_json: AsJson = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Put the deliveries of the fallback log in FILE on the queues that lack them.

    Skips what the ledger knows. Exit status: 0 where nothing is left to send, else 1.
    """
    from tools.recovery import fallback_log
    from tools.recovery.resend import Resending
    from tools.recovery.sources import sources

    with exit_statuses():
        found = fallback_log.read(file)
        app, settings = app_of(queue_port, webhook, require_webhook=False)
        begun: list[Resending] = []
        with progress_bar() as progress:
            task = progress.add_task("Resending", total=len(found.lost))

            def seen(result: "Resent") -> None:
                progress.advance(task)
                if as_json:
                    emit(asdict(result))

            async def resend() -> None:
                async with sources(app, settings) as opened:
                    begun.append(Resending(opened, dry_run, seen))
                    await begun[0].run(found.lost)

            try:
                run(resend())
            finally:
                progress.stop()
                for each in begun:
                    _show(each, as_json=as_json, dry_run=dry_run)
        for reason in found.unusable:
            say(errors, f"Not resent: {reason}.")
    if found.unusable or not begun[0].is_complete:
        raise typer.Exit(1)


def _show(resending: "Resending", *, as_json: bool, dry_run: bool) -> None:
    from rich.table import Table

    if not as_json:
        title = "Dry run: nothing was changed" if dry_run else None
        grid = Table("result", "deliveries", title=title)
        for name, count in resending.counts.most_common() or [("nothing can be resent", 0)]:
            grid.add_row(name, str(count))
        console.print(grid)
    if resending.error:
        say(errors, resending.error)
