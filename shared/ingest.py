"""The road itself: a delivery in, its answer out. Knows nothing of HTTP servers."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared import answers, rejected
from shared.actions import actions
from shared.answers import Answer
from shared.normalisation import to_event
from shared.parsing import parse
from shared.problems import Kind, Problem
from shared.queues import MAX_MESSAGE_BYTES, Queues, StorageUnavailable
from shared.routing import Routes
from shared.settings import Settings, SettingsError
from shared.validation import DeliveryValidator


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request of the registry: the body as it came, and what else of it is looked at.

    `registry` is the parameter of that name in the webhook's URL, `traceparent` the header.
    """

    body: bytes
    registry: str | None
    traceparent: str | None
    received_at: datetime


class Sender(Protocol):
    """Puts messages on queues; `queues.Queues` is the one."""

    async def send(self, queue: str, message: bytes, deadline: float) -> None:
        """Returns once `message` is stored; raises StorageUnavailable."""


class Ingest:
    """Takes deliveries down the road. Compiles schemas and routes once, when it is made."""

    def __init__(self, settings: Settings, routes: Routes, queues: Sender) -> None:
        self._settings = settings
        self._routes = routes
        self._queues = queues
        self._validator = DeliveryValidator(actions())

    @classmethod
    def from_settings(cls, settings: Settings) -> "Ingest":
        """The road as the app travels it. Raises RoutesError, SettingsError."""
        raising = [name for name, action in actions().items() if action.type]
        try:
            queues = Queues(settings.connection_string)
        except ValueError as error:
            raise SettingsError(f"{settings.connection}: {error}") from None
        return cls(settings, Routes.load(raising), queues)

    async def receive(self, delivery: Delivery) -> Answer:
        """The answer to `delivery`, once it is stored: on the queues of its event or, where it
        is refused, on the queue of rejected deliveries.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.budget_seconds
        try:
            valid = self._valid(delivery)
            event = self._event(valid, delivery)
            if event is None:
                return answers.pong(valid)
            message = _message(event)
            queues = self._routes.queues_for(event)
            await self._enqueue(queues, message, deadline)
            return answers.accepted(event, queues)
        except Problem as problem:
            return await self._refuse(delivery, problem, deadline)

    def _valid(self, delivery: Delivery) -> dict[str, Any]:
        limit = self._settings.max_body_bytes
        if len(delivery.body) > limit:
            detail = f"It has {len(delivery.body)} bytes; the limit is {limit}."
            raise Problem(Kind.BODY_TOO_LARGE, detail)
        return self._validator.validate(parse(delivery.body))

    def _event(self, valid: dict[str, Any], delivery: Delivery) -> dict[str, Any] | None:
        """The event of a valid delivery; None for an action that raises none."""
        host = valid.get("request", {}).get("host")
        registry = self._settings.registries.registry(host, delivery.registry)
        action = actions()[valid["action"]]
        return to_event(valid, action, registry, delivery.traceparent) if action.type else None

    async def _enqueue(self, queues: Sequence[str], message: bytes, deadline: float) -> None:
        sends = (self._queues.send(queue, message, deadline) for queue in queues)
        results = await asyncio.gather(*sends, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise _unavailable(failures)

    async def _refuse(self, delivery: Delivery, problem: Problem, deadline: float) -> Answer:
        if problem.kind is not Kind.STORAGE_UNAVAILABLE:
            record = rejected.record(
                problem,
                delivery.body,
                received_at=delivery.received_at,
                registry=delivery.registry,
                traceparent=delivery.traceparent,
                limit=MAX_MESSAGE_BYTES,
            )
            try:
                await self._enqueue([self._routes.rejected_queue], record, deadline)
            except Problem as unavailable:
                problem = unavailable
        return answers.refused(problem)


def _message(event: dict[str, Any]) -> bytes:
    message = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    if len(message) > MAX_MESSAGE_BYTES:
        detail = f"It would have {len(message)} bytes; a message holds {MAX_MESSAGE_BYTES}."
        raise Problem(Kind.EVENT_TOO_LARGE, detail)
    return message


def _unavailable(failures: Sequence[BaseException]) -> Problem:
    for failure in failures:
        if not isinstance(failure, StorageUnavailable):
            raise failure
    return Problem(Kind.STORAGE_UNAVAILABLE, "; ".join(map(str, failures)) + ".")
