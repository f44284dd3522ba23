"""Log lines, one for each delivery among them, and the fallback log.

A line is a fixed marker and a JSON object, so that a query can find and parse the line. Text from
outside appears in that object only, in JSON strings that are escaped to ASCII. All but the body
in the fallback log are clipped. No delivery can forge a line or a field.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

from shared.core.dead_letter import decode_body, encode_body
from shared.core.delivery import Delivery
from shared.core.limits import MAX_MESSAGE_BYTES
from shared.core.text import clip
from shared.core.timestamps import utc_timestamp

DELIVERY = "acr_delivery"
LOST = "acr_lost_delivery"
RECONCILED = "acr_reconcile"
QUEUE = "acr_queue"
START = "acr_start"
CONFIGURATION = "acr_configuration"
IDENTITY = "acr_identity"

_LOG = logging.getLogger("acr_webhook")
_MAX_TEXT_CHARS = 256

# Application Insights keeps 32,768 characters of a line.
# https://learn.microsoft.com/azure/azure-monitor/app/data-model-trace-telemetry
_MAX_LINE_CHARS = 32_000

# Of a body in the fallback log. Every body that the app accepts fits, in base64 too.
_MAX_BODY_BYTES = 2 * MAX_MESSAGE_BYTES

# Of queues in a line. So many fit beside the other fields, even if every character is escaped.
_MAX_NAMES = 100


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a delivery was not stored, and which queues lack it (None: not known)."""

    reason: str
    detail: str
    queues: Sequence[str] | None = None


def started(fields: Mapping[str, Any]) -> None:
    """Logs that the app has started in this process."""
    _write(logging.INFO, START, fields)


def misconfigured(fields: Mapping[str, Any]) -> None:
    """Logs a setting or a route that cannot work."""
    _write(logging.ERROR, CONFIGURATION, fields)


def delivery(level: int, fields: Mapping[str, Any]) -> None:
    """Logs what became of one delivery."""
    _write(level, DELIVERY, fields)


def reconciled(level: int, fields: Mapping[str, Any]) -> None:
    """Logs what a run found in the delivery log of one webhook, and what it did."""
    _write(level, RECONCILED, fields)


def queue(level: int, fields: Mapping[str, Any]) -> None:
    """Logs the depth of one queue."""
    _write(level, QUEUE, fields)


def no_token(fields: Mapping[str, Any]) -> None:
    """Logs why there is no access token."""
    _write(logging.ERROR, IDENTITY, fields)


def lost(delivery: Delivery, loss: Loss) -> None:
    """Writes `delivery`, which could not be stored, to the fallback log: error level, whole.

    A line that would be too long is written in numbered parts: lines with a piece of the body in
    base64 each. Where more queues lack the event than a line has room for, all parts are written
    again with the next queues.
    """
    queues = loss.queues
    if not queues:
        _write_lost(delivery, loss, queues)
        return
    for start in range(0, len(queues), _MAX_NAMES):
        _write_lost(delivery, loss, queues[start : start + _MAX_NAMES])


def _write_lost(delivery: Delivery, loss: Loss, queues: Sequence[str] | None) -> None:
    body = encode_body(delivery.body, _MAX_BODY_BYTES)
    fields = _clipped(
        {
            "reason": loss.reason,
            "detail": loss.detail,
            "queues": queues,
            "receivedAt": utc_timestamp(delivery.received_at),
            "registry": delivery.registry,
            "region": delivery.region,
            "traceparent": delivery.traceparent,
            "invocation": delivery.invocation_id,
        }
    )

    def line(part: int, parts: int, piece: Mapping[str, Any]) -> str:
        return f"{LOST} {json.dumps({**fields, 'part': part, 'parts': parts, 'body': piece})}"

    lines = [line(1, 1, body)]
    if len(lines[0]) > _MAX_LINE_CHARS:
        content = b64encode(decode_body(body)).decode()
        piece = {**body, "encoding": "base64", "content": ""}
        # There are never more than 99 parts. A piece whose length is a multiple of four can be
        # decoded alone.
        room = (_MAX_LINE_CHARS - len(line(99, 99, piece))) // 4 * 4
        starts = range(0, len(content), room)
        lines = [
            line(part, len(starts), piece | {"content": content[start : start + room]})
            for part, start in enumerate(starts, 1)
        ]
    for each in lines:
        _LOG.error("%s", each)


def internal_error(error: BaseException) -> None:
    """Logs an internal error: the class of the exception and where it was raised.

    The message is left out, because it may quote text from outside.
    """
    places = extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(p.filename).name}:{p.lineno} {p.name}" for p in reversed(places))
    _LOG.error("acr_fault %s in %s", type(error).__name__, where)


def _write(level: int, marker: str, fields: Mapping[str, Any]) -> None:
    if _LOG.isEnabledFor(level):
        _LOG.log(level, "%s %s", marker, json.dumps(_clipped(fields)))


def _clipped(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _short(value) for name, value in fields.items() if value is not None}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return clip(value, _MAX_TEXT_CHARS)
    if isinstance(value, list | tuple) and len(value) > _MAX_NAMES:
        return [*value[:_MAX_NAMES], f"and {len(value) - _MAX_NAMES} more"]
    return value
