"""The command line: `python -m tools`.

What a command alone needs is imported where it is used: `host` must find the app's own modules
the way Azure does, not loaded already.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools import examples
from tools.processes import ROOT, ToolError, azurite, connection_string, free_port, function_url
from tools.processes import app as running_app

if TYPE_CHECKING:
    from shared.settings import Settings

PORT = 7071  # Core Tools' own
QUEUE_PORT = 10001  # Azurite's own

console = Console()
errors = Console(stderr=True)

app = typer.Typer(
    help="Run the receiver on this machine, send it deliveries, look at its queues.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

Port = Annotated[int, typer.Option(help="Port of the app.", min=1, max=65535)]
QueuePortOnly = Annotated[
    int | None, typer.Option(help="Port of a local Azurite, instead of the app's settings.")
]
QueuePort = Annotated[int, typer.Option(help="Port of Azurite's queues.", min=1, max=65535)]


@contextmanager
def _plainly() -> Iterator[None]:
    """Turns errors that a user can put right into a message and exit status 1."""

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    # Without this, SIGTERM and a closed terminal would leave the child processes behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        yield
    except ToolError as error:
        errors.print(f"[red]Error:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def host(port: Port = PORT) -> None:
    """Serve the app in this folder, for local use only (no keys are checked)."""
    from tools import host as local_host

    def ready(functions: list[local_host.HttpFunction]) -> None:
        errors.print("Local host, for development only: it checks no keys.", style="dim")
        for function in functions:
            methods = ",".join(sorted(function.methods))
            url = f"http://127.0.0.1:{port}{function.path}"
            errors.print(f"  {function.name}: [{methods}] {url}", markup=False, highlight=False)

    with _plainly():
        local_host.configure_logging()
        asyncio.run(local_host.serve(ROOT, port, ready))


@app.command()
def start(port: Port = PORT, queue_port: QueuePort = QUEUE_PORT) -> None:
    """Start Azurite and the app, and stay until Ctrl-C."""
    with (
        _plainly(),
        azurite(queue_port, ROOT / ".azurite") as connection,
        running_app(port, {"AcrEventsStorage": connection}) as url,
    ):
        console.print(f"\n[green]✓[/] The function answers at [bold]{url}[/]. Send it a push:\n")
        body = "tests/examples/push/documented.json"
        console.print(f"  curl -i {url} --data-binary @{body}", highlight=False)
        console.print("\nAnd look at the queues:\n")
        console.print(f"  .venv/bin/python -m tools peek --queue-port {queue_port}")
        console.print("\nCtrl-C ends both.", style="dim")
        signal.pause()


@app.command()
def demo() -> None:
    """Start Azurite and the app on free ports, send every kind of delivery, show the queues."""
    from tools import demo as demonstration

    data = ROOT / ".azurite"
    data.mkdir(exist_ok=True)
    with (
        _plainly(),
        TemporaryDirectory(dir=data) as folder,
        azurite(free_port(), Path(folder)) as connection,
    ):
        # Whatever local.settings.json holds, the demo is the same.
        settings = {"AcrEventsStorage": connection, "ACR_REGISTRIES": ""}
        with running_app(free_port(), settings, quiet=True) as url:
            asyncio.run(demonstration.run(url, connection, console))


@app.command()
def send(
    action: Annotated[str, typer.Argument(help=f"One of: {', '.join(examples.actions())}.")],
    url: Annotated[str, typer.Option(help="The function's URL.")] = function_url(PORT),
    registry: Annotated[
        str | None, typer.Option(help="Login server: sent as ?registry= and as the event's host.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Function key.", envvar="ACR_WEBHOOK_KEY", show_envvar=True)
    ] = None,
    repeat: Annotated[
        int, typer.Option(help="How many; each gets an id of its own if more than 1.", min=1)
    ] = 1,
    concurrency: Annotated[int, typer.Option(help="How many at a time.", min=1, max=256)] = 16,
) -> None:
    """Post the documented example of ACTION to the function."""
    from tools.deliveries import Outcome, post

    with _plainly():
        if action not in examples.actions():
            known = ", ".join(examples.actions())
            raise ToolError(f"There is no example of {action!r}; there is one of: {known}.")
        example = examples.documented(action, registry)
        many = [examples.anew(example) for _ in range(repeat)] if repeat > 1 else [example]
        bodies = [json.dumps(delivery).encode() for delivery in many]

        async def run(seen: Callable[[Outcome], None]) -> None:
            sending = post(url, bodies, registry=registry, key=key, concurrency=concurrency)
            async for outcome in sending:
                seen(outcome)

        statuses: dict[int, int] = {}
        last: list[Outcome] = []
        with _progress() as progress:
            task = progress.add_task(f"{action} → {url}", total=repeat, visible=repeat > 1)

            def seen(outcome: Outcome) -> None:
                statuses[outcome.status] = statuses.get(outcome.status, 0) + 1
                last[:] = [outcome]
                progress.advance(task)

            asyncio.run(run(seen))
        if repeat == 1:
            console.print(f"{last[0].status}", highlight=False)
            console.print_json(data=last[0].answer)
        else:
            for status, count in sorted(statuses.items()):
                console.print(f"{count} × {status}", highlight=False)
        if any(status >= 300 for status in statuses):
            raise typer.Exit(1)


@app.command()
def replay(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would pass; change nothing.")
    ] = False,
    most: Annotated[
        int | None, typer.Option("--max", help="At most so many; without it, all.", min=1)
    ] = None,
    queue: Annotated[
        str | None, typer.Option(help="Take them from here, not from the rejected queue.")
    ] = None,
    hold: Annotated[
        int, typer.Option(help="Seconds for which a delivery in hand is hidden.", min=1, max=604800)
    ] = 300,
    queue_port: QueuePortOnly = None,
) -> None:
    """Send what was rejected down the road again, with today's schemas and routes.

    What passes goes to its queues and leaves; the rest stays, with its new reason.

    Exit status: 0 where nothing stays, else 1.
    """
    from rich.table import Table

    from tools.replay import Replay

    with _plainly(), _progress() as progress:
        task = progress.add_task("Replaying", total=None)
        replaying = Replay(_settings(queue_port), queue=queue, hold=hold, dry_run=dry_run)
        summary = asyncio.run(
            replaying.run(
                most,
                lambda total: progress.update(task, total=total),
                lambda: progress.advance(task),
            )
        )
    grid = Table("result", "deliveries", title="Dry run: nothing was changed" if dry_run else None)
    grid.add_row("would pass" if dry_run else "passed", str(summary.passed))
    for reason, count in summary.stayed.most_common():
        grid.add_row(f"stays: {reason}", str(count))
    console.print(grid)
    if summary.stayed:
        raise typer.Exit(1)


@app.command()
def peek(
    queue: Annotated[str | None, typer.Argument(help="A queue; without it, all.")] = None,
    queue_port: QueuePortOnly = None,
    as_json: Annotated[bool, typer.Option("--json", help="Whole messages, a line each.")] = False,
) -> None:
    """Show what lies on the queues, without taking it."""
    from tools import queue_table

    async def show(connection: str) -> None:
        queues = [seen async for seen in queue_table.peek(connection, queue)]
        if as_json:
            for message in (message for seen in queues for message in seen.messages):
                print(json.dumps(message, ensure_ascii=False))
            return
        grid = queue_table.table()
        for seen in queues:
            queue_table.add(grid, seen)
        console.print(grid if queues else "There is no queue yet.")

    with _plainly():
        asyncio.run(show(_settings(queue_port).connection_string))


def _settings(queue_port: int | None) -> "Settings":
    """The settings that the app itself would have here, but for a `queue_port` that is given."""
    from shared.settings import Settings, SettingsError
    from tools.local_settings import read_local_settings

    read_local_settings(ROOT)
    if queue_port:
        os.environ["AcrEventsStorage"] = connection_string(queue_port)
    try:
        return Settings.read(os.environ)
    except SettingsError as error:
        raise ToolError(str(error)) from None


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
    )
