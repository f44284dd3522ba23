"""The timer trigger: how much lies on each queue, and for how long, into the log."""

import azure.functions as func

from shared.app import ingest
from shared.monitoring import queue_depth as depth


async def main(timer: func.TimerRequest) -> None:
    """Logs a line for each queue; storage's own metrics know the whole account only."""
    await depth.report(ingest())
