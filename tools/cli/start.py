"""`start`: Azurite and the app until Ctrl-C."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from tools.changed_file import ChangedFile
from tools.cli.common import (
    DEFAULTS,
    PORT,
    QUEUE_PORT,
    Port,
    QueuePort,
    console,
    exit_statuses,
    say,
)
from tools.localhost.processes import (
    ROOT,
    Child,
    developers_app,
    developers_azurite,
    function_url,
    listens,
)

# Azurite 3.37 writes its data to the disk every five seconds (LokiQueueMetadataStore, read).
_GONE = """
Azurite has ended. The app responds 503, and writes each delivery to its log.
If Azurite was killed, messages of its last five seconds are gone.
To start Azurite again, on the same port and with the same folder, run in another terminal:

  .venv/bin/python -m tools azurite --queue-port {queue_port}
"""
_BACK = "\nAzurite is back: the app stores deliveries again.\n"
_LOG = """The delivery log has what you send there. A push that never arrives:

  curl -i {missed}/missed --data-binary @tests/examples/push/documented.json

To work with the delivery log, in another terminal:

  . .azurite/start-{queue_port}/azure.env
  .venv/bin/python -m tools reconcile --dry-run
"""


def command(
    port: Port = PORT,
    queue_port: QueuePort = QUEUE_PORT,
    delivery_log: Annotated[
        bool,
        typer.Option(
            "--delivery-log", help="With a stand-in for the registry, which has a delivery log."
        ),
    ] = False,
    under_make: Annotated[bool, typer.Option("--under-make", hidden=True)] = False,
) -> None:
    """Start Azurite and the app, and stay until Ctrl-C."""
    say(console, f"Starting Azurite, its queues on port {queue_port}, and the app on port {port}.")
    routes = ChangedFile(ROOT / "routes.json")
    # make reports any status but 0 as an error. Ctrl-C is the normal end of this command.
    with (
        exit_statuses(on_interrupt=0 if under_make else 130),
        developers_azurite(queue_port) as storage,
        _app(port, queue_port, storage.address, delivery_log=delivery_log) as (running, url),
    ):
        body = "tests/examples/push/documented.json"
        say(console, f"\nThe function is ready. Send it a push:\n\n  curl -i {url} \\")
        say(console, f"    --data-binary @{body}\n\nAnd look at the queues:\n")
        say(console, f"  .venv/bin/python -m tools peek --queue-port {queue_port}\n")
        if delivery_log:
            say(console, _LOG.format(missed=url.partition("/api")[0], queue_port=queue_port))
        say(console, "Ctrl-C ends both.")
        _watch(running, queue_port, routes)


@contextmanager
def _app(
    port: int, queue_port: int, storage: str, *, delivery_log: bool
) -> Iterator[tuple[Child, str]]:
    """The app, and the URL for deliveries: with `delivery_log` that of the stand-in before it."""
    settings = {"AcrEventsStorage": storage, **_schedule()}
    if not delivery_log:
        with developers_app(port, settings) as running:
            yield running, running.address
        return
    from tools.localhost import registry
    from tools.localhost.ports import free_port

    folder = ROOT / ".azurite" / f"start-{queue_port}"
    behind, log_port = free_port(), free_port()
    with (
        developers_app(behind, settings) as running,
        registry.registry(port, running.address, log_port, folder),
    ):
        values = registry.settings(port, log_port, folder, storage)
        registry.write_settings(folder / "azure.env", values)
        yield running, function_url(port)


def _watch(app: Child, queue_port: int, routes: ChangedFile) -> None:
    """Says when Azurite is gone or back, and when the routes have changed.

    Raises ToolError where the app has ended.
    """
    available = True
    while True:
        app.require_running()
        if listens(queue_port) != available:
            available = not available
            say(console, _BACK if available else _GONE.format(queue_port=queue_port))
        if routes.has_changed():
            say(console, "routes.json has changed: restart to use the new routes.")
        time.sleep(0.5)


def _schedule() -> dict[str, str]:
    """The schedule as shipped, where the environment has none."""
    name = "AcrReconcileSchedule"
    return {} if os.environ.get(name) else {name: DEFAULTS[name]}
