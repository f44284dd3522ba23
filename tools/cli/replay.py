"""`replay`: send refused deliveries through the pipeline again."""

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
    target,
)
from tools.cli.output import AsJson, emit
from tools.cli.selection import Ids, Reasons, Registries, Since, selection

if TYPE_CHECKING:
    from tools.replay import Replayed, Summary


def command(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would pass; change nothing.")
    ] = False,
    most: Annotated[
        int | None, typer.Option("--max", help="At most so many; without it, all.", min=1)
    ] = None,
    queue: Annotated[
        str | None, typer.Option(help="The queue to replay, instead of the dead-letter queue.")
    ] = None,
    # https://learn.microsoft.com/rest/api/storageservices/get-messages (at most seven days)
    hold: Annotated[
        int, typer.Option(help="Seconds for which a delivery in hand is hidden.", min=1, max=604800)
    ] = 300,
    reason: Reasons = None,
    registry: Registries = None,
    id_: Ids = None,
    since: Since = None,
    as_json: AsJson = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Send refused deliveries through the pipeline again, with today's schemas and routes.

    A delivery that passes goes to its queues. The rest stays, with its new reason.

    Exit status: 0 where nothing that was selected stays, else 1.
    """
    from tools.replay import Replay, Watcher

    with exit_statuses():
        given = target(queue_port).app_settings
        allowed = given.get("ACR_REGISTRIES") or "all"
        say(errors, f"The registries that may deliver (ACR_REGISTRIES): {allowed}")
        chosen = selection(reason, registry, id_, since)
        replaying = Replay(given, queue=queue, hold=hold, dry_run=dry_run, selection=chosen)

        def seen(result: "Replayed") -> None:
            if as_json:
                emit(_line(result, dry_run=dry_run))

        try:
            with progress_bar() as progress:
                task = progress.add_task("Replaying", total=None)
                watcher = Watcher(
                    lambda total: progress.update(task, total=total),
                    lambda: progress.advance(task),
                    seen,
                    lambda total: progress.reset(
                        task, total=total, description="Making visible again"
                    ),
                )
                run(replaying.run(most, watcher))
        finally:
            # However the run ended, it did this much.
            if not as_json:
                _show(replaying.summary, dry_run=dry_run)
            _say_what_is_hidden(replaying.summary)
    if not replaying.summary.is_complete:
        raise typer.Exit(1)


def _line(result: "Replayed", *, dry_run: bool) -> dict[str, object]:
    about = asdict(result.facts)
    passed = "would pass" if dry_run else "passed"
    return {
        "message": result.message,
        **{name: about[name] for name in ("id", "time", "registry", "repository")},
        "result": "stays" if result.stays else passed,
        "reason": result.stays,
        "queues": list(result.queues),
    }


def _show(summary: "Summary", *, dry_run: bool) -> None:
    from rich.table import Table

    title = "Dry run: nothing was changed" if dry_run else None
    grid = Table("result", "deliveries", title=title)
    grid.add_row("would pass" if dry_run else "passed", str(summary.passed))
    for reason, count in summary.stayed.most_common():
        grid.add_row(f"stays: {reason}", str(count))
    for name, count in (
        ("not selected", summary.others),
        ("left because of --max", summary.untried),
        ("in another reader's hand", summary.elsewhere),
        ("not visible again yet", summary.unreleased),
    ):
        if count:
            grid.add_row(name, str(count))
    console.print(grid)


def _say_what_is_hidden(summary: "Summary") -> None:
    if summary.elsewhere:
        say(
            errors,
            f"Another reader has {summary.elsewhere} messages in hand. If it is a replay with this "
            f"--hold, they are visible again at {summary.back_at} at the latest.",
        )
    if summary.unreleased:
        say(
            errors,
            f"{summary.unreleased} messages could not be made visible again. They are at "
            f"{summary.back_at} at the latest.",
        )
