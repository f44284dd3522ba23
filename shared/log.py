"""What the operator sees: one line for each delivery, and the last net.

A line is a fixed marker followed by a JSON object, so that a query can find and parse it. Whatever
came from outside stands in that object only, in JSON strings that are escaped to ASCII and, but for
a lost body, short: no delivery can forge a line or a field.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from shared.text import clip

DELIVERY = "acr_delivery"
LOST = "acr_lost_delivery"

_LOG = logging.getLogger("acr_webhook")
_MAX_TEXT = 256


def delivery(level: int, fields: Mapping[str, Any]) -> None:
    """Logs what became of one delivery."""
    if _LOG.isEnabledFor(level):
        _LOG.log(level, "%s %s", DELIVERY, json.dumps(_clipped(fields)))


def lost(fields: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """The last net: logs a delivery that could not be stored, with its body, at error level."""
    _LOG.error("%s %s", LOST, json.dumps({**_clipped(fields), "body": body}))


def fault(error: BaseException) -> None:
    """Logs a fault of this program with its traceback."""
    _LOG.error("acr_fault %s", type(error).__name__, exc_info=error)


def _clipped(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: clip(value, _MAX_TEXT) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
