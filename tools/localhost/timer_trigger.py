"""Timer triggers of the local host: NCRONTAB schedules in UTC.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure_functions_runtime_v1.bindings.datumdef import Datum
from croniter import croniter

from tools.localhost.function_app import ToolError, with_app_settings

# Calls the function with the data of the timer.
Invoke = Callable[[Datum], Awaitable[None]]

log = logging.getLogger("host")


class TimerTrigger:
    """Calls a function on a schedule of six fields, of which the first is the second.

    Of five fields, the first is the minute.
    """

    def __init__(self, schedule: str) -> None:
        """Raises ValueError."""
        self.schedule = schedule
        try:
            self._due(datetime.now(UTC))
            usable = len(schedule.split()) <= 6
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"{schedule!r} is no schedule, as 0 */5 * * * * is one")

    def _due(self, after: datetime) -> datetime:
        # Where both are given, the day of the month and the day of the week must match.
        schedule = croniter(self.schedule, after, second_at_beginning=True, day_or=False)
        due: datetime = schedule.get_next(datetime)
        return due

    async def run(self, invoke: Invoke, stop: asyncio.Event, *, at_once: bool) -> None:
        """Calls `invoke` on schedule until `stop` is set; if `at_once`, now too. None overlap."""
        if at_once:
            await invoke(_occasion())
        due = datetime.now(UTC)
        while not stop.is_set():
            # Clocks can go back a little: one time of the schedule must not cause two calls.
            now = datetime.now(UTC)
            due = self._due(max(now, due))
            try:
                await asyncio.wait_for(stop.wait(), (due - now).total_seconds())
            except TimeoutError:
                await invoke(_occasion())


def timer_trigger(folder: Path, binding: Mapping[str, Any]) -> TimerTrigger:
    """The trigger of the function in `folder`, which `binding` declares. Raises ToolError."""
    try:
        return TimerTrigger(with_app_settings(binding["schedule"]))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ToolError(f"{folder.name}: its timer trigger cannot be used: {reason}") from None


def _occasion() -> Datum:
    return Datum(json.dumps({"Schedule": {}, "ScheduleStatus": None, "IsPastDue": False}), "json")
