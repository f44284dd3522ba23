"""What the operator sees: one line for each delivery, and the last net.

A line is a fixed marker followed by a JSON object, so that a query can find and parse it. Whatever
came from outside stands in that object only, in JSON strings that are escaped to ASCII and, but for
a lost body, short: no delivery can forge a line or a field.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

from shared.rejected import body_bytes
from shared.text import clip

DELIVERY = "acr_delivery"
LOST = "acr_lost_delivery"
RECONCILED = "acr_reconcile"
QUEUE = "acr_queue"

_LOG = logging.getLogger("acr_webhook")
_MAX_TEXT = 256

# Characters of a body in one line, a multiple of four so that each piece can be decoded.
# Application Insights keeps 32,768 of a line.
_MAX_CONTENT = 28_000


def delivery(level: int, fields: Mapping[str, Any]) -> None:
    """Logs what became of one delivery."""
    if _LOG.isEnabledFor(level):
        _LOG.log(level, "%s %s", DELIVERY, json.dumps(_clipped(fields)))


def reconciled(level: int, fields: Mapping[str, Any]) -> None:
    """Logs what the record of one webhook said, and what was done."""
    _LOG.log(level, "%s %s", RECONCILED, json.dumps(_clipped(fields)))


def queue(level: int, fields: Mapping[str, Any]) -> None:
    """Logs how much lies on one queue."""
    _LOG.log(level, "%s %s", QUEUE, json.dumps(_clipped(fields)))


def lost(fields: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """The last net: logs a delivery that could not be stored, with its body, at error level.

    `body` is of the form that `rejected.body` gives. One whose line would be too long comes in
    numbered parts, each a line with a piece of it in base64.
    """
    pieces: Sequence[Mapping[str, Any]] = [body]
    if len(json.dumps(body["content"])) > _MAX_CONTENT:
        content = b64encode(body_bytes(body)).decode()
        starts = range(0, len(content), _MAX_CONTENT)
        pieces = [
            {**body, "encoding": "base64", "content": content[start : start + _MAX_CONTENT]}
            for start in starts
        ]
    for part, piece in enumerate(pieces, 1):
        line = {**_clipped(fields), "part": part, "parts": len(pieces), "body": piece}
        _LOG.error("%s %s", LOST, json.dumps(line))


def fault(error: BaseException) -> None:
    """Logs a fault of this program: its kind and where it arose, without its words.

    Those may quote what came from outside.
    """
    places = extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(p.filename).name}:{p.lineno} {p.name}" for p in reversed(places))
    _LOG.error("acr_fault %s in %s", type(error).__name__, where)


def _clipped(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: clip(value, _MAX_TEXT) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
