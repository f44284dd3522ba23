"""The timer trigger: logs how much lies on each queue and for how long."""

import azure.functions as func

from shared.app import app
from shared.monitoring import queue_depth


async def main(timer: func.TimerRequest) -> None:
    """Logs a line for each queue. Storage's own metrics know only the account as a whole."""
    await queue_depth.report(app().routes, app().queues)
