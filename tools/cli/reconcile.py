"""`reconcile`: recover missed deliveries from the registry's delivery log."""

from datetime import datetime
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
from tools.cli.output import AsJson, emit, utc
from tools.localhost.function_app import ToolError

if TYPE_CHECKING:
    from shared.reconcile.report import Report


def command(
    webhook: Webhooks = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Ignore earlier deliveries (UTC; ACR_RECOVERED_DAYS at most)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what was missed; change nothing.")
    ] = False,
    as_json: AsJson = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Read the registry's delivery log, and recover deliveries that never arrived.

    Exit status: 0 where nothing is left to recover, else 1.
    """
    from shared.reconcile.runner import Reconciliation

    with exit_statuses():
        app, settings = app_of(queue_port, webhook)
        with progress_bar() as progress:
            task = progress.add_task("Reading the delivery log", total=None)
            reconciling = Reconciliation(
                app.settings,
                app.routes,
                app.queues,
                settings,
                since=utc(since),
                dry_run=dry_run,
                seconds=None,
                advanced=lambda count: progress.advance(task, count),
            )

            async def reconcile() -> None:
                try:
                    await reconciling.run()
                except ValueError as error:
                    raise ToolError(str(error)) from None
                finally:
                    await app.queues.close()

            try:
                run(reconcile())
            finally:
                progress.stop()
                # However the run ended, it did this much.
                if as_json:
                    for report in reconciling.reports:
                        emit(_line(report))
                else:
                    _show(reconciling.reports, dry_run=dry_run)
        for report in reconciling.reports:
            if report.error:
                say(errors, f"{report.webhook.label}: {report.error}")
    if not all(report.is_done for report in reconciling.reports):
        raise typer.Exit(1)


def _line(report: "Report") -> dict[str, object]:
    return {
        "webhook": report.webhook.id,
        "deliveries": {name: count for name, count in report.entries.items() if count},
        "timedOut": report.timed_out,
        "error": report.error,
    }


def _show(reports: list["Report"], *, dry_run: bool) -> None:
    from rich.table import Table

    title = "Dry run: nothing was changed" if dry_run else None
    grid = Table("webhook", "deliveries", "", title=title)
    for report in reports:
        rows = [(name, str(count)) for name, count in report.entries.items() if count]
        if report.error:
            rows.append(("not completed", ""))
        for number, (name, count) in enumerate(rows or [("none", "0")]):
            grid.add_row("" if number else report.webhook.label, name, count)
    console.print(grid)
    for report in reports:
        if report.timed_out:
            say(
                console,
                f"{report.webhook.label}: {report.timed_out} of these timed out: the registry "
                "got no response within five seconds (504).",
            )
