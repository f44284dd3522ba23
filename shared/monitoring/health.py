"""Whether the app could store a delivery now: settings, routes, and every queue."""

import asyncio
import logging
from collections.abc import Callable

from shared.core import responses as answers
from shared.core.responses import Answer
from shared.core.routing import RoutesError
from shared.pipeline import Ingest
from shared.settings import SettingsError
from shared.storage.queues import StorageUnavailable

# Seconds.
REUSE = 10
WAIT = 2

_LOG = logging.getLogger("acr_webhook")


class Health:
    """Checks the app that `make` makes, at most once in ten seconds however often it is asked.

    The endpoint is anonymous: its answer names checks and queues, but gives no reasons. Those are
    in the log.
    """

    def __init__(self, make: Callable[[], Ingest]) -> None:
        self._make = make
        self._asked_at = 0.0
        self._checking: asyncio.Task[Answer] | None = None

    async def answer(self) -> Answer:
        """200 where every check passes, else 503; `checks` says which."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        last = self._checking
        if last is None or last.get_loop() is not loop or now - self._asked_at >= REUSE:
            self._asked_at = now
            last = self._checking = loop.create_task(self._check(now + WAIT))
        # One caller that goes away must not end the check of all others.
        return await asyncio.shield(last)

    async def _check(self, deadline: float) -> Answer:
        checks: dict[str, bool] = {}
        try:
            ingest = self._make()
            checks |= {"settings": True, "routes": True}
            names = ingest.routes.queues
            reached = await asyncio.gather(*(_reaches(ingest, name, deadline) for name in names))
            checks |= {f"queue {name}": ok for name, ok in zip(names, reached, strict=True)}
        except SettingsError as error:
            _LOG.error("acr_health settings: %s", error)
            checks["settings"] = False
        except RoutesError as error:
            _LOG.error("acr_health routes: %s", error)
            checks |= {"settings": True, "routes": False}
        return answers.health(checks)


async def _reaches(ingest: Ingest, queue: str, deadline: float) -> bool:
    try:
        await ingest.queues.reach(queue, deadline)
    except StorageUnavailable as error:
        _LOG.error("acr_health %s", error)
        return False
    return True
