"""What the operator sees: one line for each delivery, and the last net.

A line is a fixed marker followed by a JSON object, so that a query can find and parse it. Whatever
came from outside stands in that object only, in JSON strings that are escaped to ASCII and, but for
a lost body, short: no delivery can forge a line or a field.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

from shared.core.dead_letter import body_bytes
from shared.core.text import clip

DELIVERY = "acr_delivery"
LOST = "acr_lost_delivery"
RECONCILED = "acr_reconcile"
QUEUE = "acr_queue"
START = "acr_start"

_LOG = logging.getLogger("acr_webhook")
_MAX_TEXT = 256

# Characters. Application Insights keeps 32,768 of a line.
_MAX_LINE = 32_000

# Of any number of queues. What else is in a line leaves room for them, however it is escaped.
_MAX_NAMES = 100


def started(fields: Mapping[str, Any]) -> None:
    """Logs that the app has started in this process."""
    _tell(logging.INFO, START, fields)


def delivery(level: int, fields: Mapping[str, Any]) -> None:
    """Logs what became of one delivery."""
    _tell(level, DELIVERY, fields)


def reconciled(level: int, fields: Mapping[str, Any]) -> None:
    """Logs what the record of one webhook said, and what was done."""
    _tell(level, RECONCILED, fields)


def queue(level: int, fields: Mapping[str, Any]) -> None:
    """Logs how much lies on one queue."""
    _tell(level, QUEUE, fields)


def lost(fields: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """The last net: logs a delivery that could not be stored, with its body, at error level.

    `body` is of the form that `rejected.body` gives. One whose line would be too long comes in
    numbered parts, each a line with a piece of it in base64.
    """
    told = _clipped(fields)

    def line(part: int, parts: int, piece: Mapping[str, Any]) -> str:
        return f"{LOST} {json.dumps({**told, 'part': part, 'parts': parts, 'body': piece})}"

    lines = [line(1, 1, body)]
    if len(lines[0]) > _MAX_LINE:
        content = b64encode(body_bytes(body)).decode()
        piece = {**body, "encoding": "base64", "content": ""}
        # There are never more than 99 parts. Of a multiple of four, each can be decoded.
        room = (_MAX_LINE - len(line(99, 99, piece))) // 4 * 4
        starts = range(0, len(content), room)
        lines = [
            line(part, len(starts), piece | {"content": content[start : start + room]})
            for part, start in enumerate(starts, 1)
        ]
    for each in lines:
        _LOG.error("%s", each)


def fault(error: BaseException) -> None:
    """Logs a fault of this program: its kind and where it arose, without its words.

    Those may quote what came from outside.
    """
    places = extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(p.filename).name}:{p.lineno} {p.name}" for p in reversed(places))
    _LOG.error("acr_fault %s in %s", type(error).__name__, where)


def _tell(level: int, marker: str, fields: Mapping[str, Any]) -> None:
    if _LOG.isEnabledFor(level):
        _LOG.log(level, "%s %s", marker, json.dumps(_clipped(fields)))


def _clipped(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _short(value) for name, value in fields.items() if value is not None}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return clip(value, _MAX_TEXT)
    if isinstance(value, list | tuple) and len(value) > _MAX_NAMES:
        return [*value[:_MAX_NAMES], f"and {len(value) - _MAX_NAMES} more"]
    return value
