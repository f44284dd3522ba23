"""The pipeline: a delivery in, a response out.

The only module that knows the order of the stages: parse, validate, normalize, route, enqueue,
respond.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared import log
from shared.core import dead_letter, regions, responses
from shared.core.actions import actions
from shared.core.cloud_event import CloudEvent
from shared.core.delivery import Delivery, JsonObject, Payload
from shared.core.limits import MAX_MESSAGE_BYTES
from shared.core.log_fields import log_fields
from shared.core.normalization import to_cloud_event
from shared.core.parsing import parse
from shared.core.problems import Kind, Problem
from shared.core.responses import Response
from shared.core.routing import Routes
from shared.core.text import quoted
from shared.core.validation import PayloadValidator
from shared.settings import Settings
from shared.storage.errors import StorageUnavailable

# The outcome of a delivery that is stored in the fallback log. Version 0.9.0 calls it `lost`.
LOGGED = "logged"


class MessageSender(Protocol):
    """A store that takes a message for a queue."""

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        """Returns once `message` is stored. Raises StorageUnavailable."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An accepted delivery: what to enqueue, and where.

    `event` is None for an action that raises none (a ping): nothing is enqueued then.
    """

    payload: Payload
    event: CloudEvent | None = None
    message: bytes = b""
    queues: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery.

    Args:
        name: The value of `outcome` in its log line.
        level: The level of its log line.
        response: What the sender gets.
        fields: Further fields of its log line.
        loss: Set where the delivery is not on its queues: for the fallback log.

    """

    name: str
    level: int
    response: Response
    fields: Mapping[str, Any] = field(default_factory=dict)
    loss: log.Loss | None = None


class Pipeline:
    """Runs deliveries through the stages. The constructor compiles the schemas, once."""

    def __init__(self, settings: Settings, routes: Routes, sender: MessageSender) -> None:
        self._settings = settings
        self._routes = routes
        self._sender = sender
        self._validator = PayloadValidator(actions())

    async def process(self, delivery: Delivery) -> Response:
        """The response to `delivery`, within the budget that the settings give.

        A 2xx comes once every queue of the event has the message, a 4xx once the dead-letter queue
        has the delivery. A delivery that cannot be stored is written to the fallback log, whole.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            outcome = await self._run(delivery, started + self._settings.budget_seconds)
        except asyncio.CancelledError:
            # The process is being stopped: no response can be sent.
            log.lost(delivery, log.Loss("cancelled", "The function was stopped."))
            log.delivery(logging.ERROR, {"outcome": LOGGED, "invocation": delivery.invocation_id})
            raise
        except Exception as error:  # noqa: BLE001 (an internal error must not lose the delivery)
            log.internal_error(error)
            problem = Problem(Kind.INTERNAL_ERROR, "The delivery is stored in the log.")
            outcome = _logged(problem, None, {})
        if outcome.loss:
            log.lost(delivery, outcome.loss)
        fields = {
            "outcome": outcome.name,
            "status": outcome.response.status,
            "milliseconds": round((clock() - started) * 1000, 1),
            "invocation": delivery.invocation_id,
            "traceparent": delivery.traceparent,
        }
        log.delivery(outcome.level, {**fields, **outcome.fields})
        return outcome.response

    async def recover(self, delivery: Delivery, problem: Problem | None = None) -> Outcome:
        """As `process`, for a delivery from the registry's delivery log.

        A delivery that cannot be stored is not written to the fallback log, as the delivery log has
        it. With a `problem`, it goes to the dead-letter queue for that reason.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.budget_seconds
        if problem:
            outcome = await self._reject(delivery, {}, problem, deadline)
        else:
            outcome = await self._run(delivery, deadline)
        if not outcome.loss:
            fields = {"outcome": outcome.name, "recovered": True}
            fields["traceparent"] = delivery.traceparent
            log.delivery(outcome.level, {**fields, **outcome.fields})
        return outcome

    def parse(self, delivery: Delivery) -> JsonObject:
        """The JSON object in the body. Raises Problem (400, 413)."""
        limit = self._settings.max_body_bytes
        if len(delivery.body) > limit:
            detail = f"It has {len(delivery.body)} bytes; the limit is {limit}."
            raise Problem(Kind.BODY_TOO_LARGE, detail)
        return parse(delivery.body)

    def route(self, document: JsonObject, delivery: Delivery) -> Routed:
        """The event of `delivery`, whose body is `document`, and its queues.

        Validates, normalizes and routes; it sends nothing. Raises Problem (403, 413, 422).
        """
        payload = self._validator.validate(document)
        host = payload.get("request", {}).get("host")
        registry = self._settings.registries.registry(host, delivery.registry)
        region = regions.region(host, delivery.region)
        action = actions()[payload["action"]]
        if action.type is None:
            return Routed(payload)
        event = to_cloud_event(
            payload, action, registry, delivery.traceparent, delivery.recovered_at, region
        )
        queues = self._routes.queues_for(event)
        if not queues and self._settings.keep_unrouted:
            about = f"{action.name} of {quoted(event['subject'])}"
            raise Problem(Kind.UNROUTED, f"No route in routes.json matches this {about}.")
        return Routed(payload, event, _encode(event), queues)

    async def enqueue(
        self, routed: Routed, request_id: str | None = None, deadline: float | None = None
    ) -> list[StorageUnavailable]:
        """Sends the message to all its queues at once. Returns the failures.

        `deadline` is a time of the running loop's clock; without it, the budget decides.
        """
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + self._settings.budget_seconds
        return await self._send(routed.queues, routed.message, deadline, request_id)

    async def _run(self, delivery: Delivery, deadline: float) -> Outcome:
        document: JsonObject = {}
        try:
            document = self.parse(delivery)
            routed = self.route(document, delivery)
        except Problem as problem:
            return await self._reject(delivery, document, problem, deadline)
        fields = log_fields(routed.payload)
        if routed.event is None:
            return Outcome("ping", logging.INFO, responses.pong(routed.payload), fields)
        event = routed.event
        fields |= {"registry": event.get("acrregistry"), "region": event.get("acrregion")}
        fields["queues"] = routed.queues
        if failures := await self.enqueue(routed, delivery.invocation_id, deadline):
            return _logged(_unavailable(failures), [failure.queue for failure in failures], fields)
        name, level = ("accepted", logging.INFO) if routed.queues else ("unrouted", logging.WARNING)
        return Outcome(name, level, responses.accepted(event, routed.queues), fields)

    async def _reject(
        self, delivery: Delivery, document: JsonObject, problem: Problem, deadline: float
    ) -> Outcome:
        queue = self._routes.rejected_queue
        fields = log_fields(document) | {"reason": problem.kind.reason, "queues": [queue]}
        named = {"registry": delivery.registry, "region": delivery.region}
        fields |= {name: value for name, value in named.items() if value is not None}
        message = dead_letter.encode(problem, delivery, MAX_MESSAGE_BYTES)
        if failures := await self._send([queue], message, deadline, delivery.invocation_id):
            return _logged(_unavailable(failures), [queue], fields)
        return Outcome("rejected", logging.WARNING, responses.problem_details(problem), fields)

    async def _send(
        self, queues: Sequence[str], message: bytes, deadline: float, request_id: str | None
    ) -> list[StorageUnavailable]:
        sends = [self._try_to_send(queue, message, deadline, request_id) for queue in queues]
        # Most events have one queue, and a single send needs no task of its own.
        failures = [await sends[0]] if len(sends) == 1 else await asyncio.gather(*sends)
        return [failure for failure in failures if failure]

    async def _try_to_send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None
    ) -> StorageUnavailable | None:
        try:
            await self._sender.send(queue, message, deadline, request_id)
        except StorageUnavailable as failure:
            return failure
        return None


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _encode(event: CloudEvent) -> bytes:
    message = _ENCODER.encode(event).encode()
    if len(message) > MAX_MESSAGE_BYTES:
        detail = f"It would have {len(message)} bytes; a message holds {MAX_MESSAGE_BYTES}."
        raise Problem(Kind.EVENT_TOO_LARGE, detail)
    return message


def _unavailable(failures: Iterable[StorageUnavailable]) -> Problem:
    return Problem(Kind.STORAGE_UNAVAILABLE, "; ".join(map(str, failures)) + ".")


def _logged(problem: Problem, queues: Sequence[str] | None, fields: Mapping[str, Any]) -> Outcome:
    loss = log.Loss(problem.kind.reason, problem.detail, queues)
    return Outcome(LOGGED, logging.ERROR, responses.problem_details(problem), fields, loss)
