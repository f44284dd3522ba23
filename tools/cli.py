"""The command line: `python -m tools`.

What a command alone needs is imported where it is used: `host` must find the app's own modules
the way Azure does, not loaded already.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools import examples
from tools.localhost.function_app import ToolError, read_local_settings
from tools.localhost.ports import free_azurite_port, free_port
from tools.localhost.processes import (
    ROOT,
    Child,
    azurite,
    bypass_proxies,
    connection_string,
    developers_app,
    function_url,
)
from tools.localhost.processes import app as app_of_its_own

if TYPE_CHECKING:
    from shared.settings import Settings
    from shared.storage.connections import Connection

PORT = 7071  # Core Tools' own
QUEUE_PORT = 10001  # Azurite's own

# An empty setting counts as absent: with these, the app is the same in every environment.
DEFAULTS = {
    "ACR_REGISTRIES": "",
    "ACR_MAX_BODY_BYTES": "",
    "ACR_BUDGET_SECONDS": "",
    "ACR_KEEP_UNROUTED": "",
    "ACR_WEBHOOKS": "",
    "AcrReconcileSchedule": "0 */5 * * * *",
}

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
    int | None,
    typer.Option(help="Port of a local Azurite, instead of the app's settings.", min=1, max=65535),
]
QueuePort = Annotated[int, typer.Option(help="Port of Azurite's queues.", min=1, max=65535)]


def _show_version(asked: bool) -> None:
    if asked:
        from shared import __version__

        print(f"acr-webhook {__version__}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    bypass_proxies()


@contextmanager
def _plainly(*, on_interrupt: int = 130) -> Iterator[None]:
    """Turns errors that a user can put right into a message and exit status 1.

    Ctrl-C ends with the exit status `on_interrupt`.
    """

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    # Without this, SIGTERM and a closed terminal would leave the child processes behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    # A script's background job is born with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except ToolError as error:
        errors.print("[red]Error:[/] ", end="")
        errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(on_interrupt) from None


@app.command()
def host(
    port: Port = PORT,
    local_settings: Annotated[
        bool, typer.Option(help="Read local.settings.json, as Core Tools do.")
    ] = True,
    folder: Annotated[
        Path, typer.Option("--app", help="The app's folder.", exists=True, file_okay=False)
    ] = ROOT,
    timers_at_once: Annotated[
        bool, typer.Option("--timers-at-once", help="Call functions with a timer now, too.")
    ] = False,
) -> None:
    """Serve a function app, this one or another, for local use only (no keys are checked)."""
    from tools.localhost import host as local_host

    def ready(functions: list[local_host.Function]) -> None:
        errors.print("Local host, for development only: it checks no keys.", style="dim")
        for function in functions:
            if isinstance(function, local_host.QueueFunction):
                _say(errors, f"  {function.name}: queue {function.trigger.queue}")
                continue
            if isinstance(function, local_host.TimerFunction):
                _say(errors, f"  {function.name}: timer {function.trigger.schedule}")
                continue
            methods = ",".join(sorted(function.methods))
            url = f"http://127.0.0.1:{port}{function.path}"
            _say(errors, f"  {function.name}: [{methods}] {url}")

    with _plainly():
        local_host.configure_logging()
        serving = local_host.serve(
            folder.resolve(),
            port,
            ready,
            local_settings=local_settings,
            timers_at_once=timers_at_once,
        )
        asyncio.run(serving)


@app.command()
def start(
    port: Port = PORT,
    queue_port: QueuePort = QUEUE_PORT,
    under_make: Annotated[bool, typer.Option("--under-make", hidden=True)] = False,
) -> None:
    """Start Azurite and the app, and stay until Ctrl-C."""
    # make reports any status but 0 as an error, and to it Ctrl-C is none: it is how this ends.
    with (
        _plainly(on_interrupt=0 if under_make else 130),
        azurite(queue_port, ROOT / ".azurite" / f"start-{queue_port}") as storage,
        developers_app(port, {"AcrEventsStorage": storage.address, **_schedule()}) as running,
    ):
        body = "tests/examples/push/documented.json"
        _say(console, f"\nThe function answers. Send it a push:\n\n  curl -i {running.address} \\")
        _say(console, f"    --data-binary @{body}\n\nAnd look at the queues:\n")
        _say(console, f"  .venv/bin/python -m tools peek --queue-port {queue_port}\n")
        _say(console, "Ctrl-C ends both.")
        while True:
            storage.require_running()
            running.require_running()
            time.sleep(0.5)


@app.command()
def demo() -> None:
    """Start Azurite and the app on free ports, send every kind of delivery, show the queues."""
    from tools import demo as demonstration

    with (
        _plainly(),
        _azurite_of_its_own() as storage,
        app_of_its_own(
            free_port(), {"AcrEventsStorage": storage.address, **DEFAULTS}, quiet=True
        ) as running,
    ):
        asyncio.run(demonstration.run(running.address, storage.address, console))


@app.command()
def send(
    action: Annotated[str, typer.Argument(help=f"One of: {', '.join(examples.actions())}.")],
    url: Annotated[
        str | None, typer.Option(help="The function's URL; without it, that of `start`.")
    ] = None,
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
        target = url or function_url(PORT)
        example = examples.documented(action, registry)
        many = [examples.anew(example) for _ in range(repeat)] if repeat > 1 else [example]
        bodies = [json.dumps(delivery).encode() for delivery in many]

        async def run(seen: Callable[[Outcome], None]) -> None:
            sending = post(target, bodies, registry=registry, key=key, concurrency=concurrency)
            async for outcome in sending:
                seen(outcome)

        statuses: dict[int, int] = {}
        last: list[Outcome] = []
        with _progress() as progress:
            task = progress.add_task(
                escape(f"{action} → {target}"), total=repeat, visible=repeat > 1
            )

            def seen(outcome: Outcome) -> None:
                statuses[outcome.status] = statuses.get(outcome.status, 0) + 1
                last[:] = [outcome]
                progress.advance(task)

            _run(run(seen))
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

    with _plainly():
        _settings(queue_port)
        allowed = os.environ.get("ACR_REGISTRIES") or "all"
        _say(errors, f"The registries that may deliver (ACR_REGISTRIES): {allowed}")
        replaying = Replay(os.environ, queue=queue, hold=hold, dry_run=dry_run)
        with _progress() as progress:
            task = progress.add_task("Replaying", total=None)
            try:
                _run(
                    replaying.run(
                        most,
                        lambda total: progress.update(task, total=total),
                        lambda: progress.advance(task),
                    )
                )
            finally:
                # However it ended: this much was done.
                title = "Dry run: nothing was changed" if dry_run else None
                grid = Table("result", "deliveries", title=title)
                grid.add_row("would pass" if dry_run else "passed", str(replaying.summary.passed))
                for reason, count in replaying.summary.stayed.most_common():
                    grid.add_row(f"stays: {reason}", str(count))
                console.print(grid)
    if replaying.summary.stayed:
        raise typer.Exit(1)


@app.command()
def reconcile(
    webhook: Annotated[
        list[str] | None,
        typer.Option(help="Resource id of a webhook; several are allowed. Else ACR_WEBHOOKS."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Leave earlier deliveries alone (UTC; ACR_RECOVERED_DAYS at most)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what was missed; change nothing.")
    ] = False,
    queue_port: QueuePortOnly = None,
) -> None:
    """Read the registry's own record of its deliveries, and recover those that never arrived.

    Exit status: 0 where nothing is left to recover, else 1.
    """
    from rich.table import Table

    from shared.pipeline import Ingest
    from shared.reconcile.runner import Reconciliation
    from shared.settings import ReconcileSettings

    with _plainly():
        _settings(queue_port)
        if webhook:
            os.environ["ACR_WEBHOOKS"] = ",".join(webhook)
        try:
            ingest = Ingest.from_environment(os.environ)
            settings = ReconcileSettings.read(os.environ)
        except ValueError as error:
            raise ToolError(str(error)) from None
        if not settings.webhooks:
            raise ToolError("No webhook is named: use --webhook or set ACR_WEBHOOKS.")

        with _progress() as progress:
            task = progress.add_task("Reading the record", total=None)
            reconciling = Reconciliation(
                ingest,
                settings,
                since=since and since.replace(tzinfo=since.tzinfo or UTC),
                dry_run=dry_run,
                seconds=None,
                advanced=lambda count: progress.advance(task, count),
            )

            async def run() -> None:
                try:
                    await reconciling.run()
                except ValueError as error:
                    raise ToolError(str(error)) from None
                finally:
                    await ingest.queues.close()

            try:
                _run(run())
            finally:
                # However it ended: this much was done.
                title = "Dry run: nothing was changed" if dry_run else None
                grid = Table("webhook", "deliveries", "", title=title)
                for report in reconciling.reports:
                    rows = [(name, str(count)) for name, count in report.entries.items() if count]
                    for number, (name, count) in enumerate(rows or [("none", "0")]):
                        grid.add_row("" if number else report.webhook.label, name, count)
                console.print(grid)
        for report in reconciling.reports:
            if report.trouble:
                _say(errors, f"{report.webhook.label}: {report.trouble}")
    if not all(report.is_done for report in reconciling.reports):
        raise typer.Exit(1)


@app.command()
def peek(
    queue: Annotated[str | None, typer.Argument(help="A queue; without it, all.")] = None,
    queue_port: QueuePortOnly = None,
    as_json: Annotated[bool, typer.Option("--json", help="Whole messages, a line each.")] = False,
) -> None:
    """Show what lies on the queues, without taking it."""
    from tools import queue_table

    async def show(connection: "Connection") -> None:
        queues = [seen async for seen in queue_table.peek(connection, queue)]
        if as_json:
            for message in (message for seen in queues for message in seen.messages):
                print(json.dumps(message))
            for more in (seen for seen in queues if seen.length > len(seen.messages)):
                _say(errors, f"{more.name} has {more.length - len(more.messages)} more.")
            return
        grid = queue_table.table()
        for seen in queues:
            queue_table.add(grid, seen)
        console.print(grid if queues else "There is no queue yet.")

    with _plainly():
        _run(show(_settings(queue_port).storage))


routes_app = typer.Typer(help="What routes.json says.", no_args_is_help=True)
app.add_typer(routes_app, name="routes")

RoutesFile = Annotated[Path, typer.Option(help="The routes.", metavar="PATH")]


@routes_app.command()
def check(file: RoutesFile = ROOT / "routes.json") -> None:
    """Check the file, and show what each route takes.

    Exit status: 0 where the app can use it, else 1.
    """
    from tools import routes

    with _plainly():
        read_local_settings(ROOT)
        checked = routes.load(os.environ, file)
    console.print(routes.table(checked))
    for action in routes.unwanted(checked):
        _say(console, f"No route takes {action}.")


@routes_app.command()
def explain(
    action: Annotated[str, typer.Argument(help="push, delete, …")],
    reference: Annotated[str, typer.Argument(help="Repository, as in team-a/web:v1.")],
    registry: Annotated[str | None, typer.Option(help="Login server; else the example's.")] = None,
    media_type: Annotated[str | None, typer.Option(help="Media type; else the example's.")] = None,
    file: RoutesFile = ROOT / "routes.json",
) -> None:
    """Say which routes take an event, and which filter turns it away from the others.

    Exit status: 0 where some route takes it, else 1.
    """
    from tools import routes

    with _plainly():
        read_local_settings(ROOT)
        checked = routes.load(os.environ, file)
        event = routes.event(
            action, routes.Pushed.parse(reference, registry), registry, media_type, os.environ
        )
    _say(console, routes.seen(event))
    console.print(routes.explanation(checked, event))
    if not checked.queues_for(event):
        _say(console, "No route takes it.")
        raise typer.Exit(1)


@app.command()
def bench() -> None:
    """Measure the app against the plain SDK; some minutes. Writes docs/benchmarks.md.

    Exit status: 0 where every target is reached, else 1.
    """
    from tools.bench import report
    from tools.bench.runner import Bench

    with (
        _plainly(),
        _azurite_of_its_own() as storage,
        _progress() as progress,
    ):
        measuring = Bench(storage.address, progress)
        figures = measuring.figures()
        settings = {"AcrEventsStorage": storage.address, **DEFAULTS}
        with app_of_its_own(free_port(), settings, quiet=True) as running:
            loads = measuring.loads(running.address)
    report.show(console, figures, loads)
    report.REPORT.parent.mkdir(exist_ok=True)
    report.REPORT.write_text(report.markdown(figures, loads, report.machine()), "utf-8")
    missed = [figure.name for figure in figures if not figure.reached]
    if missed:
        console.print(f"[red]Missed:[/] {', '.join(missed)}", highlight=False)
        raise typer.Exit(1)
    console.print("[green]✓[/] Every target is reached.")


def _schedule() -> dict[str, str]:
    """The schedule as shipped, where the environment has none."""
    name = "AcrReconcileSchedule"
    return {} if os.environ.get(name) else {name: DEFAULTS[name]}


def _settings(queue_port: int | None) -> "Settings":
    """The settings that the app itself would have here, but for a `queue_port` that is given."""
    from shared.settings import Settings
    from shared.storage import connections
    from shared.storage.queues import check

    read_local_settings(ROOT)
    of_accounts = [
        name
        for name, value in os.environ.items()
        if value and name.partition("__")[0] in connections.NAMES
    ]
    if queue_port:
        for name in of_accounts:
            del os.environ[name]
    elif not of_accounts:
        _say(errors, f"No storage account is set: taking Azurite on port {QUEUE_PORT}.")
    if queue_port or not of_accounts:
        os.environ["AcrEventsStorage"] = connection_string(queue_port or QUEUE_PORT)
    try:
        settings = Settings.read(os.environ)
        check(settings.storage)
    except ValueError as error:
        raise ToolError(str(error)) from None
    return settings


@contextmanager
def _azurite_of_its_own() -> Iterator[Child]:
    """Azurite on a free port, with queues that go with it."""
    data = ROOT / ".azurite"
    data.mkdir(exist_ok=True)
    with (
        TemporaryDirectory(dir=data) as folder,
        azurite(free_azurite_port(), Path(folder)) as storage,
    ):
        yield storage


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main`; SIGTERM and a closed terminal end it in as good order as Ctrl-C."""
    received: list[int] = []

    async def stoppable() -> None:
        running = asyncio.ensure_future(main)

        def stop(number: int) -> None:
            received.append(number)
            running.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        await running

    try:
        asyncio.run(stoppable())
    except asyncio.CancelledError:
        sys.exit(128 + received[0] if received else 1)


def _say(to: Console, text: str) -> None:
    """Prints `text` as it is, however narrow the terminal: it may be meant for copying."""
    to.print(text, markup=False, highlight=False, soft_wrap=True)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
    )
