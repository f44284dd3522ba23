"""The timer trigger: logs the depth of each queue."""

import azure.functions as func

from shared.app import app
from shared.monitoring import queue_depth


async def main(timer: func.TimerRequest) -> None:
    """Logs a line for each queue, as Storage's own metrics cover only the account as a whole.

    https://learn.microsoft.com/azure/storage/queues/monitor-queue-storage-reference
    """
    await queue_depth.report(app().routes, app().queues)
