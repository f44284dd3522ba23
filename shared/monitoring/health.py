"""Whether the app could store a delivery now: settings, routes, and every queue."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.core import responses
from shared.core.misconfiguration import Misconfiguration
from shared.core.responses import Response
from shared.settings import SettingsError
from shared.storage.errors import StorageUnavailable

REUSE_SECONDS = 10
WAIT_SECONDS = 2

_LOG = logging.getLogger("acr_webhook")


class QueueProber(Protocol):
    """Checks whether Storage responds for a queue."""

    async def probe(self, queue: str, deadline: float) -> None:
        """Returns once Storage has responded for `queue`. Raises StorageUnavailable."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is checked: queues, and what is misconfigured already, by the check that it fails.

    `routes` is the digest of the loaded routes.
    """

    queues: Sequence[str]
    prober: QueueProber
    misconfigured: Mapping[str, Sequence[Misconfiguration]] = field(default_factory=dict)
    routes: str = ""


class Health:
    """Checks the app, at most once in ten seconds, however many requests there are.

    The endpoint is anonymous: its response names checks, queues and what is misconfigured, but
    quotes no value. The reasons are in the log.
    """

    def __init__(self, load: Callable[[], Checked]) -> None:
        """`load` gives what to check. It may raise SettingsError."""
        self._load = load
        self._checked_at = 0.0
        self._check_running: asyncio.Task[Response] | None = None

    async def respond(self) -> Response:
        """200 where every check passes, else 503. `checks` in the body has each result."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        check = self._check_running
        if check is None or check.get_loop() is not loop or now - self._checked_at >= REUSE_SECONDS:
            self._checked_at = now
            check = self._check_running = loop.create_task(self._check(now + WAIT_SECONDS))
        # A caller that goes away must not end the check of the others.
        return await asyncio.shield(check)

    async def _check(self, deadline: float) -> Response:
        checks: dict[str, bool] = {}
        problems: list[str] = []
        routes = ""
        try:
            checked = self._load()
            routes = checked.routes
            checks |= {"settings": True, "routes": True}
            for check, found in checked.misconfigured.items():
                checks[check] = not found
                for each in found:
                    _LOG.error("acr_health %s: %s", check, each)
                    problems.append(each.public)
            names = checked.queues
            passed = await asyncio.gather(
                *(_passes(checked.prober, name, deadline) for name in names)
            )
            checks |= {f"queue {name}": ok for name, ok in zip(names, passed, strict=True)}
        except SettingsError as error:
            _LOG.error("acr_health settings: %s", error)
            checks["settings"] = False
        return responses.health(checks, problems, routes)


async def _passes(prober: QueueProber, queue: str, deadline: float) -> bool:
    try:
        await prober.probe(queue, deadline)
    except StorageUnavailable as error:
        _LOG.error("acr_health %s", error)
        return False
    return True
