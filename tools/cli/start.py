"""`start`: Azurite and the app until Ctrl-C."""

import os
import time
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
from tools.localhost.processes import ROOT, Child, developers_app, developers_azurite, listens

# Azurite 3.37 writes its data to the disk every five seconds (LokiQueueMetadataStore, read).
_GONE = """
Azurite has ended. The app responds 503, and writes each delivery to its log.
If Azurite was killed, messages of its last five seconds are gone.
To start Azurite again, on the same port and with the same folder, run in another terminal:

  .venv/bin/python -m tools azurite --queue-port {queue_port}
"""
_BACK = "\nAzurite is back: the app stores deliveries again.\n"


def command(
    port: Port = PORT,
    queue_port: QueuePort = QUEUE_PORT,
    under_make: Annotated[bool, typer.Option("--under-make", hidden=True)] = False,
) -> None:
    """Start Azurite and the app, and stay until Ctrl-C."""
    say(console, f"Starting Azurite, its queues on port {queue_port}, and the app on port {port}.")
    routes = ChangedFile(ROOT / "routes.json")
    # make reports any status but 0 as an error. Ctrl-C is the normal end of this command.
    with (
        exit_statuses(on_interrupt=0 if under_make else 130),
        developers_azurite(queue_port) as storage,
        developers_app(port, {"AcrEventsStorage": storage.address, **_schedule()}) as running,
    ):
        body = "tests/examples/push/documented.json"
        say(console, f"\nThe function is ready. Send it a push:\n\n  curl -i {running.address} \\")
        say(console, f"    --data-binary @{body}\n\nAnd look at the queues:\n")
        say(console, f"  .venv/bin/python -m tools peek --queue-port {queue_port}\n")
        say(console, "Ctrl-C ends both.")
        _watch(running, queue_port, routes)


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
