"""The road itself: a delivery in, its answer out. Knows nothing of HTTP servers."""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from shared import log
from shared.core import dead_letter as rejected
from shared.core import responses as answers
from shared.core.actions import actions
from shared.core.limits import MAX_MESSAGE_BYTES
from shared.core.normalization import to_event
from shared.core.parsing import parse
from shared.core.problems import Kind, Problem
from shared.core.responses import Answer
from shared.core.routing import Routes
from shared.core.text import shown
from shared.core.timestamps import moment
from shared.core.validation import DeliveryValidator
from shared.settings import Settings, SettingsError
from shared.storage.queues import Depth, Queues, StorageUnavailable

# Of a body in the last net. Whatever may be accepted has room there, in base64 too.
_LAST_NET_BYTES = 2 * MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request of the registry: the body as it came, and what else of it is looked at.

    `registry` is the parameter of that name in the webhook's URL, `traceparent` the header,
    `invocation_id` the platform's name for this request. `recovered_at` is set where it comes from
    the registry's record.
    """

    body: bytes
    registry: str | None
    traceparent: str | None
    received_at: datetime
    invocation_id: str | None = None
    recovered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A delivery that is accepted: what to enqueue, and where.

    `event` is None for an action that raises none (a ping); then there is nothing to enqueue.
    """

    delivery: dict[str, Any]
    event: dict[str, Any] | None = None
    message: bytes = b""
    queues: Sequence[str] = ()


class Storage(Protocol):
    """Where messages go; `queues.Queues` is the one."""

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        """Returns once `message` is stored; raises StorageUnavailable."""

    async def reach(self, queue: str, deadline: float) -> None:
        """Returns once Storage answered for `queue`; raises StorageUnavailable."""

    async def depth(self, queue: str, deadline: float) -> Depth:
        """What lies on `queue`; raises StorageUnavailable."""

    async def close(self) -> None:
        """Closes the connections."""


@dataclass(frozen=True, slots=True)
class _Loss:
    """Why a delivery was not stored, and which queues lack it (None: not known)."""

    reason: str
    detail: str
    queues: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery, and what its line in the log says of it."""

    name: str
    level: int
    answer: Answer
    fields: dict[str, Any] = field(default_factory=dict)
    loss: _Loss | None = None


class Ingest:
    """Takes deliveries down the road. Compiles schemas and routes once, when it is made."""

    def __init__(self, settings: Settings, routes: Routes, queues: Storage) -> None:
        self.routes = routes
        self.settings = settings
        self.queues = queues
        self._validator = DeliveryValidator(actions())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Ingest":
        """The road as the app travels it. Raises RoutesError, SettingsError."""
        settings = Settings.read(environment)
        try:
            queues = Queues(settings.storage)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return cls(settings, Routes.load(environment), queues)

    async def receive(self, delivery: Delivery) -> Answer:
        """The answer to `delivery`, within the budget that the settings give.

        A 2xx is answered once every queue of the event has it, a 4xx once the queue of rejected
        deliveries has it. Whatever could not be stored is written to the log, whole.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            outcome = await self._travel(delivery, started + self.settings.budget_seconds)
        except asyncio.CancelledError:
            # The process is being stopped: nobody will hear an answer any more.
            _log_loss(delivery, _Loss("cancelled", "The function was stopped."))
            log.delivery(logging.ERROR, {"outcome": "lost", "invocation": delivery.invocation_id})
            raise
        except Exception as error:  # noqa: BLE001 (a fault of ours must not lose the delivery)
            log.fault(error)
            outcome = _lost(Problem(Kind.FAULT, "The delivery is in the function's log."), None, {})
        if outcome.loss:
            _log_loss(delivery, outcome.loss)
        fields = {
            "outcome": outcome.name,
            "status": outcome.answer.status,
            "milliseconds": round((clock() - started) * 1000, 1),
            "invocation": delivery.invocation_id,
            "traceparent": delivery.traceparent,
        }
        log.delivery(outcome.level, fields | outcome.fields)
        return outcome.answer

    async def recover(self, delivery: Delivery, problem: Problem | None = None) -> Outcome:
        """As `receive`, for a delivery that the registry's record tells of.

        Nothing is lost where it cannot be stored: the record still has it, so the last net has not.
        With a `problem` it is kept with that as the reason.
        """
        deadline = asyncio.get_running_loop().time() + self.settings.budget_seconds
        if problem:
            outcome = await self._reject(delivery, {}, problem, deadline)
        else:
            outcome = await self._travel(delivery, deadline)
        if not outcome.loss:
            fields = {"outcome": outcome.name, "recovered": True} | outcome.fields
            log.delivery(outcome.level, fields)
        return outcome

    def read(self, delivery: Delivery) -> dict[str, Any]:
        """The JSON object in the body of `delivery`. Raises Problem where there is none."""
        limit = self.settings.max_body_bytes
        if len(delivery.body) > limit:
            detail = f"It has {len(delivery.body)} bytes; the limit is {limit}."
            raise Problem(Kind.BODY_TOO_LARGE, detail)
        return parse(delivery.body)

    def prepare(self, document: dict[str, Any], delivery: Delivery) -> Prepared:
        """The event of `delivery`, which reads `document`, and its queues.

        Pure, as is `read`. Raises Problem where the delivery is refused.
        """
        valid = self._validator.validate(document)
        host = valid.get("request", {}).get("host")
        registry = self.settings.registries.registry(host, delivery.registry)
        action = actions()[valid["action"]]
        if action.type is None:
            return Prepared(valid)
        event = to_event(valid, action, registry, delivery.traceparent, delivery.recovered_at)
        queues = self.routes.queues_for(event)
        if not queues and self.settings.keep_unrouted:
            about = f"{action.name} of {shown(event['subject'])}"
            raise Problem(Kind.UNROUTED, f"No route in routes.json takes this {about}.")
        return Prepared(valid, event, _message(event), queues)

    async def enqueue(
        self, queues: Iterable[str], message: bytes, deadline: float, request_id: str | None
    ) -> list[StorageUnavailable]:
        """Puts `message` on `queues`, all at once; the failures of those that did not take it."""
        sends = [self._try_to_send(queue, message, deadline, request_id) for queue in queues]
        # A single one needs no task of its own; most events have one queue.
        failures = [await sends[0]] if len(sends) == 1 else await asyncio.gather(*sends)
        return [failure for failure in failures if failure]

    async def _try_to_send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None
    ) -> StorageUnavailable | None:
        try:
            await self.queues.send(queue, message, deadline, request_id)
        except StorageUnavailable as failure:
            return failure
        return None

    async def _travel(self, delivery: Delivery, deadline: float) -> Outcome:
        document: dict[str, Any] = {}
        try:
            document = self.read(delivery)
            prepared = self.prepare(document, delivery)
        except Problem as problem:
            return await self._reject(delivery, document, problem, deadline)
        return await self._accept(prepared, deadline, delivery.invocation_id)

    async def _accept(self, prepared: Prepared, deadline: float, request_id: str | None) -> Outcome:
        event, queues = prepared.event, prepared.queues
        fields = _told(prepared.delivery)
        if event is None:
            return Outcome("ping", logging.INFO, answers.pong(prepared.delivery), fields)
        fields |= {"registry": event.get("acrregistry"), "queues": queues}
        if failures := await self.enqueue(queues, prepared.message, deadline, request_id):
            return _lost(_unavailable(failures), [failure.queue for failure in failures], fields)
        name = "accepted" if queues else "unrouted"
        return Outcome(name, logging.INFO, answers.accepted(event, queues), fields)

    async def _reject(
        self, delivery: Delivery, document: dict[str, Any], problem: Problem, deadline: float
    ) -> Outcome:
        queue = self.routes.rejected_queue
        fields = _told(document) | {"reason": problem.kind.reason, "queues": [queue]}
        if delivery.registry is not None:
            fields["registry"] = delivery.registry
        record = rejected.record(
            problem,
            delivery.body,
            received_at=delivery.received_at,
            registry=delivery.registry,
            traceparent=delivery.traceparent,
            limit=MAX_MESSAGE_BYTES,
        )
        if failures := await self.enqueue([queue], record, deadline, delivery.invocation_id):
            return _lost(_unavailable(failures), [queue], fields)
        return Outcome("rejected", logging.WARNING, answers.refused(problem), fields)


def _told(document: dict[str, Any]) -> dict[str, Any]:
    """What a delivery, valid or not, tells an operator of itself."""
    target, request = (
        part if isinstance(part := document.get(name), dict) else {}
        for name in ("target", "request")
    )
    told = {
        "id": document.get("id"),
        "action": document.get("action"),
        "registry": request.get("host"),
        "repository": target.get("repository"),
    }
    return {name: value for name, value in told.items() if isinstance(value, str)}


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _message(event: dict[str, Any]) -> bytes:
    message = _ENCODER.encode(event).encode()
    if len(message) > MAX_MESSAGE_BYTES:
        detail = f"It would have {len(message)} bytes; a message holds {MAX_MESSAGE_BYTES}."
        raise Problem(Kind.EVENT_TOO_LARGE, detail)
    return message


def _unavailable(failures: Iterable[StorageUnavailable]) -> Problem:
    return Problem(Kind.STORAGE_UNAVAILABLE, "; ".join(map(str, failures)) + ".")


def _lost(problem: Problem, queues: Sequence[str] | None, fields: dict[str, Any]) -> Outcome:
    loss = _Loss(problem.kind.reason, problem.detail, queues)
    return Outcome("lost", logging.ERROR, answers.refused(problem), fields, loss)


def _log_loss(delivery: Delivery, loss: _Loss) -> None:
    fields = {
        "reason": loss.reason,
        "detail": loss.detail,
        "queues": loss.queues,
        "receivedAt": moment(delivery.received_at),
        "registry": delivery.registry,
        "traceparent": delivery.traceparent,
        "invocation": delivery.invocation_id,
    }
    log.lost(fields, rejected.body(delivery.body, _LAST_NET_BYTES))
