"""What the commands share: output, options, settings and exit statuses."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools.cli import output
from tools.localhost.function_app import ToolError, local_settings
from tools.localhost.ports import free_azurite_port
from tools.localhost.processes import ROOT, Child, azurite, bypass_proxies, connection_string

if TYPE_CHECKING:
    from shared.settings import Settings

# The default ports of Core Tools and of Azurite.
# https://learn.microsoft.com/azure/azure-functions/functions-run-local
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite
PORT = 7071
QUEUE_PORT = 10001

# An empty setting counts as absent. With these settings, the environment does not change the app.
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
    help="Run the app on this machine, send it deliveries, show its queues.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

Port = Annotated[int, typer.Option(help="Port of the app.", min=1, max=65535)]
# Blobs and tables are on the ports beside it.
QueuePort = Annotated[int, typer.Option(help="Port of Azurite's queues.", min=2, max=65534)]
LocalQueuePort = Annotated[
    int | None,
    typer.Option(help="Port of a local Azurite, instead of the app's settings.", min=1, max=65535),
]


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
def exit_statuses(*, on_interrupt: int = 130) -> Iterator[None]:
    """Turns an error that the user can correct into a message and exit status 1.

    Ctrl-C ends with the exit status `on_interrupt`, another signal with 128 and its number. So does
    a closed pipe: 141.
    """

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    # Without this, SIGTERM and a closed terminal would leave the child processes running.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    # A script's background job starts with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        output.discard_output()
        raise typer.Exit(128 + signal.SIGPIPE) from None
    except ToolError as error:
        errors.print("[red]Error:[/] ", end="")
        errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(on_interrupt) from None


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main`. SIGTERM and a closed terminal end it as cleanly as Ctrl-C."""
    received: list[int] = []

    async def stoppable() -> None:
        running = asyncio.ensure_future(main)

        def stop(number: int) -> None:
            received.append(number)
            running.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        output.STOPS.append(stop)
        try:
            await running
        finally:
            output.STOPS.remove(stop)

    try:
        asyncio.run(stoppable())
    except asyncio.CancelledError:
        sys.exit(128 + received[0] if received else 1)


def app_settings() -> dict[str, str]:
    """The app settings on this machine: the environment's, then those of local.settings.json."""
    return {**local_settings(ROOT), **os.environ}


@dataclass(frozen=True)
class Target:
    """The app settings that a command works with, and what the app reads from them."""

    app_settings: dict[str, str]
    settings: "Settings"


def target(queue_port: int | None) -> Target:
    """The settings that the app would have here. A given `queue_port` replaces the account.

    Raises ToolError.
    """
    from shared.settings import Settings
    from shared.storage import connections
    from shared.storage.clients import check

    given = app_settings()
    of_accounts = [
        name
        for name, value in given.items()
        if value and name.partition("__")[0] in connections.NAMES
    ]
    if queue_port:
        for name in of_accounts:
            del given[name]
    elif not of_accounts:
        say(errors, f"No storage account is set: using Azurite on port {QUEUE_PORT}.")
    if queue_port or not of_accounts:
        given["AcrEventsStorage"] = connection_string(queue_port or QUEUE_PORT)
    try:
        settings = Settings.read(given, registry_waits=False)
        check(settings.storage)
    except ValueError as error:
        raise ToolError(str(error)) from None
    if settings.misconfigured:
        # The app goes on, as it would lose deliveries. A tool can wait until this is corrected.
        raise ToolError("\n".join(map(str, settings.misconfigured)))
    return Target(given, settings)


@contextmanager
def temporary_azurite() -> Iterator[Child]:
    """Azurite on a free port. Its data is removed at the end."""
    data = ROOT / ".azurite"
    data.mkdir(exist_ok=True)
    with (
        TemporaryDirectory(dir=data) as folder,
        azurite(free_azurite_port(), Path(folder)) as storage,
    ):
        yield storage


def say(to: Console, text: str) -> None:
    """Prints `text` unchanged, however narrow the terminal: it may be meant for copying."""
    to.print(text, markup=False, highlight=False, soft_wrap=True)


def progress_bar() -> Progress:
    """A progress bar on standard error, if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        # Elsewhere, its last state would stand in front of the next line.
        disable=not errors.is_terminal,
    )
