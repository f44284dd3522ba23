"""The registry's own record of its deliveries: what became of each, as far as it says.

An entry of the record has the form of the `Event` of the management API: `id`,
`eventRequestMessage` (`content`: the delivery; `requestUri`, `headers`: secrets can be in both) and
`eventResponseMessage` (`statusCode`, as text; `content`, cut at about 4 KB).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.core.parsing import decode
from shared.core.responses import is_refusal
from shared.core.timestamps import to_utc

# Younger entries may still be under way.
YOUNG = timedelta(minutes=1)


class Verdict(Enum):
    """What became of a delivery, and so what is to be done; the value is what reports call it."""

    DELIVERED = "delivered"
    REFUSED = "rejected"
    PING = "pings"
    YOUNG = "too young"
    OLD = "too old"
    MISSED = "missed"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is needed of an entry: the delivery, and how it may be told from others.

    `id` is the event's; of an entry that is malformed, its own. `registry` is the parameter of that
    name in the webhook's URL. `body` is the delivery as JSON; of an entry that is malformed, what
    can be kept of it.
    """

    id: str
    body: bytes
    verdict: Verdict
    registry: str | None = None
    names_registry: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """From when on deliveries are looked at, and what time it is."""

    since: datetime
    now: datetime

    def verdict(self, timestamp: Any) -> Verdict:
        """Whether a delivery of `timestamp` is missed; one that cannot be read counts as such."""
        try:
            at = datetime.fromisoformat(to_utc(timestamp))
        except (TypeError, ValueError, AttributeError):
            return Verdict.MISSED
        if at < self.since:
            return Verdict.OLD
        # Clocks differ: one that is ahead of ours by less is as young.
        return Verdict.YOUNG if abs(self.now - at) < YOUNG else Verdict.MISSED


def read(entry: Any, window: Window) -> Entry:
    """What `entry` says. Raises nothing, whatever it is."""
    try:
        return _read(entry, window)
    except (RecursionError, ValueError, TypeError, OverflowError):
        return _malformed(_mapping(entry), None, Verdict.MISSED)


def _read(entry: Any, window: Window) -> Entry:
    members = _mapping(entry)
    request = _mapping(members.get("eventRequestMessage"))
    content = _parsed(request.get("content"))
    verdict = _answered(_mapping(members.get("eventResponseMessage")))
    if not isinstance(content, dict):
        return _malformed(members, content, verdict)
    if verdict is Verdict.MISSED:
        ping = content.get("action") == "ping"
        verdict = Verdict.PING if ping else window.verdict(content.get("timestamp"))
    id_, host = content.get("id"), _mapping(content.get("request")).get("host")
    body = _json(content)
    if not isinstance(id_, str) or not id_:
        id_ = hashlib.sha256(body).hexdigest()
    return Entry(
        id_,
        body,
        verdict,
        _parameter(request.get("requestUri")),
        isinstance(host, str) and bool(host),
    )


def _malformed(members: Mapping[str, Any], content: Any, verdict: Verdict) -> Entry:
    """An entry that holds no delivery, by its id and what stands in the delivery's place.

    Not the whole: the request's headers and URL can hold the function's key.
    """
    id_ = members.get("id")
    body = _json({"id": id_ if isinstance(id_, str) else None, "content": content})
    if not isinstance(id_, str) or not id_:
        id_ = hashlib.sha256(body).hexdigest()
    return Entry(id_, body, Verdict.MALFORMED if verdict is Verdict.MISSED else verdict)


def _parsed(content: Any) -> Any:
    """A delivery that is recorded as text, as the JSON that it is."""
    if not isinstance(content, str):
        return content
    try:
        return decode(content.encode())
    except ValueError:
        return content


def _answered(response: Mapping[str, Any]) -> Verdict:
    try:
        status = int(response.get("statusCode", 0))
    except (TypeError, ValueError, OverflowError):
        status = 0
    if 200 <= status < 300:
        return Verdict.DELIVERED
    # Another server can answer 403 too: only where it was the app, it has kept the delivery.
    return Verdict.REFUSED if is_refusal(status, response.get("content")) else Verdict.MISSED


def _parameter(uri: Any) -> str | None:
    """The `registry` parameter of the URL that was called."""
    try:
        return parse_qs(urlsplit(uri).query)["registry"][0] if isinstance(uri, str) else None
    except (KeyError, ValueError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    return text.encode(errors="backslashreplace")
