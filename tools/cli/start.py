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
from tools.localhost.processes import ROOT, azurite, developers_app


def command(
    port: Port = PORT,
    queue_port: QueuePort = QUEUE_PORT,
    under_make: Annotated[bool, typer.Option("--under-make", hidden=True)] = False,
) -> None:
    """Start Azurite and the app, and stay until Ctrl-C."""
    routes = ChangedFile(ROOT / "routes.json")
    # make reports any status but 0 as an error. Ctrl-C is the normal end of this command.
    with (
        exit_statuses(on_interrupt=0 if under_make else 130),
        azurite(queue_port, ROOT / ".azurite" / f"start-{queue_port}") as storage,
        developers_app(port, {"AcrEventsStorage": storage.address, **_schedule()}) as running,
    ):
        body = "tests/examples/push/documented.json"
        say(console, f"\nThe function is ready. Send it a push:\n\n  curl -i {running.address} \\")
        say(console, f"    --data-binary @{body}\n\nAnd look at the queues:\n")
        say(console, f"  .venv/bin/python -m tools peek --queue-port {queue_port}\n")
        say(console, "Ctrl-C ends both.")
        while True:
            storage.require_running()
            running.require_running()
            if routes.has_changed():
                say(console, "routes.json has changed: restart to use the new routes.")
            time.sleep(0.5)


def _schedule() -> dict[str, str]:
    """The schedule as shipped, where the environment has none."""
    name = "AcrReconcileSchedule"
    return {} if os.environ.get(name) else {name: DEFAULTS[name]}
