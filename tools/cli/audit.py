"""`audit`: what became of each delivery in the registry's delivery log."""

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
from tools.cli.delivery_logs import Since, Until, Webhooks, app_of
from tools.cli.output import AsJson, Yes, confirm, emit, utc

if TYPE_CHECKING:
    from tools.recovery.audit import Audit, Audited


def command(
    since: Since = None,
    until: Until = None,
    webhook: Webhooks = None,
    fallback_log: Annotated[
        Path | None,
        typer.Option(help="Lines acr_lost_delivery, or the JSON of a query for them."),
    ] = None,
    expect_queued: Annotated[
        bool,
        typer.Option(
            "--expect-queued", help="Consumers are stopped: every event must be on its queues."
        ),
    ] = False,
    hold: Annotated[
        int, typer.Option(help="Seconds for which messages in hand are hidden.", min=1, max=604800)
    ] = 300,
    yes: Yes = False,
    as_json: AsJson = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Say what became of each delivery that the registry's delivery log lists.

    Exit status: 0 where none is missed, missing or unknown, and every log was read, else 1.
    """
    from tools.recovery import fallback_log as fallback
    from tools.recovery.audit import Audit
    from tools.recovery.queued import take_and_release
    from tools.recovery.sources import Period, sources

    with exit_statuses():
        found = fallback.read(fallback_log) if fallback_log else fallback.FallbackLog()
        app, settings = app_of(queue_port, webhook)
        queues = app.routes.queues
        if expect_queued:
            say(
                errors,
                f"This takes every message off {', '.join(queues)}, and hides it for up to {hold} "
                "seconds. It raises their dequeue counts by one. Consumers must be stopped.",
            )
            confirm("Take and release all messages?", yes=yes)
        begun: list[Audit] = []
        with progress_bar() as progress:
            task = progress.add_task("Auditing", total=None)

            def seen(result: "Audited") -> None:
                progress.advance(task)
                if as_json:
                    emit(asdict(result))

            async def audit() -> None:
                queued = None
                if expect_queued:
                    queued = await take_and_release(
                        app.settings.storage,
                        queues,
                        hold,
                        lambda total: progress.reset(task, total=total),
                        lambda: progress.advance(task),
                    )
                progress.reset(task, total=None)
                async with sources(app, settings) as opened:
                    period = Period(utc(since), utc(until))
                    begun.append(Audit(opened, period, found.lost, queued, seen))
                    if queued:
                        begun[0].errors += queued.errors
                        for name in queued.absent:
                            say(errors, f"There is no queue {name}.")
                    await begun[0].run()

            try:
                run(audit())
            finally:
                progress.stop()
                for each in begun:
                    _show(each, as_json=as_json)
        for reason in found.unusable:
            say(errors, f"Not considered: {reason}.")
    if found.unusable or not begun[0].is_complete:
        raise typer.Exit(1)


def _show(audit: "Audit", *, as_json: bool) -> None:
    from rich.table import Table

    if not as_json:
        grid = Table("result", "deliveries")
        for name, count in audit.results():
            grid.add_row(name, str(count))
        grid.add_section()
        grid.add_row("total", str(audit.counts.total()))
        console.print(grid)
        say(console, f"Not counted: {audit.pings} pings, {audit.outside} outside the period.")
    for error in audit.errors:
        say(errors, error)
