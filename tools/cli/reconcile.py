"""`reconcile`: recover missed deliveries from the registry's delivery log."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from tools.cli.common import (
    LocalQueuePort,
    console,
    errors,
    exit_statuses,
    progress_bar,
    run,
    say,
    target,
)
from tools.localhost.function_app import ToolError


def command(
    webhook: Annotated[
        list[str] | None,
        typer.Option(help="Resource id of a webhook; several are allowed. Else ACR_WEBHOOKS."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Ignore earlier deliveries (UTC; ACR_RECOVERED_DAYS at most)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what was missed; change nothing.")
    ] = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Read the registry's delivery log, and recover deliveries that never arrived.

    Exit status: 0 where nothing is left to recover, else 1.
    """
    from rich.table import Table

    from shared.app import App
    from shared.reconcile.runner import Reconciliation
    from shared.settings import ReconcileSettings

    with exit_statuses():
        given = target(queue_port).app_settings
        if webhook:
            given["ACR_WEBHOOKS"] = ",".join(webhook)
        try:
            app = App.from_environment(given, registry_waits=False)
            settings = ReconcileSettings.read(given)
        except ValueError as error:
            raise ToolError(str(error)) from None
        if not settings.webhooks:
            raise ToolError("No webhook is named: use --webhook or set ACR_WEBHOOKS.")

        with progress_bar() as progress:
            task = progress.add_task("Reading the delivery log", total=None)
            reconciling = Reconciliation(
                app.settings,
                app.routes,
                app.queues,
                settings,
                since=since and since.replace(tzinfo=since.tzinfo or UTC),
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
                # However the run ended, it did this much.
                title = "Dry run: nothing was changed" if dry_run else None
                grid = Table("webhook", "deliveries", "", title=title)
                for report in reconciling.reports:
                    rows = [(name, str(count)) for name, count in report.entries.items() if count]
                    for number, (name, count) in enumerate(rows or [("none", "0")]):
                        grid.add_row("" if number else report.webhook.label, name, count)
                console.print(grid)
        for report in reconciling.reports:
            if report.timed_out:
                say(
                    console,
                    f"{report.webhook.label}: {report.timed_out} of these timed out: the registry "
                    "got no response within five seconds (504).",
                )
            if report.error:
                say(errors, f"{report.webhook.label}: {report.error}")
    if not all(report.is_done for report in reconciling.reports):
        raise typer.Exit(1)
