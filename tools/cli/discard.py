"""`discard`: delete dead letters, and keep a file of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from tools.cli.output import AsJson, Yes, confirm, emit, private_file
from tools.cli.selection import Ids, Reasons, Registries, Since, selection
from tools.localhost.function_app import ToolError

if TYPE_CHECKING:
    from tools.message_facts import Facts
    from tools.recovery.discard import Discarded


def command(
    reason: Reasons = None,
    registry: Registries = None,
    id_: Ids = None,
    since: Since = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every dead letter, instead of a filter.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(help="The new file for them; else discarded-<time>.jsonl.", dir_okay=False),
    ] = None,
    hold: Annotated[
        int, typer.Option(help="Seconds for which messages in hand are hidden.", min=1, max=604800)
    ] = 300,
    yes: Yes = False,
    as_json: AsJson = False,
    queue_port: LocalQueuePort = None,
) -> None:
    """Delete dead letters, after asking. They are in a file before the first is deleted.

    Exit status: 0 where every selected one was deleted, else 1.
    """
    from shared.core.routing import Routes
    from tools.recovery.discard import Discarded, Steps, discard

    result = Discarded()
    with exit_statuses():
        chosen = selection(reason, registry, id_, since)
        if chosen.is_empty() != everything:
            raise ToolError("Choose dead letters with filters, or all of them with --all.")
        found = target(queue_port)
        queue = Routes.load(found.app_settings).rejected_queue
        kept = file or Path(f"discarded-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")

        with progress_bar() as progress:
            task = progress.add_task("Reading", total=None)

            def allow(dead_letters: list["Facts"]) -> None:
                progress.stop()
                for name, count in Counter(each.reason for each in dead_letters).most_common():
                    say(errors, f"{count} x {name}")
                confirm(f"Delete these {len(dead_letters)} from {queue}?", yes=yes)

            def save(lines: Iterable[Any]) -> None:
                with private_file(kept) as write:
                    write(lines)
                say(errors, f"They are in {kept}.")

            steps = Steps(
                lambda total: progress.reset(task, total=total),
                lambda: progress.advance(task),
                allow,
                save,
            )
            try:
                run(discard(found.settings.storage, queue, chosen, hold, steps, result))
            finally:
                progress.stop()
                _show(result, as_json=as_json)
    if result.failed or result.elsewhere or result.unreleased:
        raise typer.Exit(1)


def _show(result: "Discarded", *, as_json: bool) -> None:
    if as_json:
        for each in result.deleted:
            emit({name: value for name, value in asdict(each).items() if name != "detail"})
    else:
        say(console, f"{len(result.deleted)} deleted, {result.others} not selected.")
    hidden = result.elsewhere + result.failed + result.unreleased
    if hidden:
        say(
            errors,
            f"{result.failed} could not be deleted, {result.elsewhere} are in another reader's "
            f"hand, {result.unreleased} could not be made visible again. If another reader holds "
            f"them for no longer than --hold, they are visible at {result.back_at} at the latest.",
        )
