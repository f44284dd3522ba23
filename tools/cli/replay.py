"""`replay`: send refused deliveries through the pipeline again."""

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
    queue_port: LocalQueuePort = None,
) -> None:
    """Send refused deliveries through the pipeline again, with today's schemas and routes.

    A delivery that passes goes to its queues. The rest stays, with its new reason.

    Exit status: 0 where nothing stays, else 1.
    """
    from rich.table import Table

    from tools.replay import Replay

    with exit_statuses():
        given = target(queue_port).app_settings
        allowed = given.get("ACR_REGISTRIES") or "all"
        say(errors, f"The registries that may deliver (ACR_REGISTRIES): {allowed}")
        replaying = Replay(given, queue=queue, hold=hold, dry_run=dry_run)
        with progress_bar() as progress:
            task = progress.add_task("Replaying", total=None)
            try:
                run(
                    replaying.run(
                        most,
                        lambda total: progress.update(task, total=total),
                        lambda: progress.advance(task),
                    )
                )
            finally:
                # However the run ended, it did this much.
                title = "Dry run: nothing was changed" if dry_run else None
                grid = Table("result", "deliveries", title=title)
                grid.add_row("would pass" if dry_run else "passed", str(replaying.summary.passed))
                for reason, count in replaying.summary.stayed.most_common():
                    grid.add_row(f"stays: {reason}", str(count))
                console.print(grid)
    if replaying.summary.stayed:
        raise typer.Exit(1)
