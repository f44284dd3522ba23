"""The timer trigger: how much lies on each queue, and for how long, into the log."""

import azure.functions as func

from shared import depth
from shared.app import ingest


async def main(timer: func.TimerRequest) -> None:
    """Logs a line for each queue; storage's own metrics know the whole account only."""
    await depth.report(ingest())
