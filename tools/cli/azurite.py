"""`azurite`: Azurite alone, until Ctrl-C."""

import time

from tools.cli.common import QUEUE_PORT, QueuePort, console, exit_statuses, say
from tools.localhost.processes import developers_azurite


def command(queue_port: QueuePort = QUEUE_PORT) -> None:
    """Start Azurite with the queues of `start`, without the app, and stay until Ctrl-C."""
    with exit_statuses(), developers_azurite(queue_port) as storage:
        say(console, f"Azurite is ready, its queues on port {queue_port}. Ctrl-C ends it.")
        while True:
            storage.require_running()
            time.sleep(0.5)
