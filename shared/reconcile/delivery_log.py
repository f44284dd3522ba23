"""The registry's delivery log: what became of each delivery, according to the log.

An entry is an `Event` of the management API: `id`, `eventRequestMessage` (`content`, the delivery;
`requestUri` and `headers`, which can hold secrets) and `eventResponseMessage` (`statusCode`, a
string; `content`, cut at about 4 KB by a user's report).

The registry waits five seconds for a response and then records status 504, by a report:
https://github.com/MicrosoftDocs/azure-docs/issues/54638

https://learn.microsoft.com/rest/api/containerregistry/webhooks/list-events
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.core.delivery import Delivery
from shared.core.normalization import is_traceparent
from shared.core.parsing import decode
from shared.core.responses import is_problem_details
from shared.core.timestamps import to_utc

# A younger entry may still be waiting for its response.
YOUNG = timedelta(minutes=1)

_TIMED_OUT = 504


class Verdict(Enum):
    """What became of a delivery. The value is its name in reports and in the log."""

    DELIVERED = "delivered"
    REFUSED = "rejected"
    PING = "pings"
    YOUNG = "too young"
    OLD = "too old"
    MISSED = "missed"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Entry:
    """The part of an entry that is needed.

    Args:
        id: The event's id. Of a malformed entry, its own.
        body: The delivery as JSON. Of a malformed entry, what can be kept of it.
        verdict: What became of the delivery.
        registry: The `registry` parameter of the webhook's URL.
        names_registry: Whether the delivery itself names its registry.
        region: The `region` parameter of the webhook's URL.
        traceparent: The header of that name, where it has W3C's form. No other header is kept.
        timed_out: Whether the registry got no response in time.

    """

    id: str
    body: bytes
    verdict: Verdict
    registry: str | None = None
    names_registry: bool = False
    region: str | None = None
    traceparent: str | None = None
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a run (`now`), and of the earliest delivery it considers (`since`), in UTC."""

    since: datetime
    now: datetime

    def verdict(self, timestamp: Any) -> Verdict:
        """Whether a delivery of `timestamp` is missed, too old or too young.

        A timestamp that cannot be read counts as missed.
        """
        try:
            at = datetime.fromisoformat(to_utc(timestamp))
        except (TypeError, ValueError, AttributeError):
            return Verdict.MISSED
        if at < self.since:
            return Verdict.OLD
        # Clocks differ: a timestamp a little ahead of ours is young too.
        return Verdict.YOUNG if abs(self.now - at) < YOUNG else Verdict.MISSED


def to_delivery(entry: Entry, login_server: str, now: datetime) -> Delivery:
    """The delivery of `entry`, recovered at `now`.

    `login_server`: that of the webhook's registry, for a delivery and a URL that name none.
    """
    names_none = entry.registry is None and not entry.names_registry
    return Delivery(
        entry.body,
        login_server if names_none else entry.registry,
        entry.traceparent,
        now,
        recovered_at=now,
        region=entry.region,
    )


def read(entry: Any, window: Window) -> Entry:
    """The parts of `entry`, which can be any JSON value. Raises nothing."""
    try:
        return _read(entry, window)
    except (RecursionError, ValueError, TypeError, OverflowError):
        return _malformed(_mapping(entry), None, Verdict.MISSED)


def _read(entry: Any, window: Window) -> Entry:
    members = _mapping(entry)
    request = _mapping(members.get("eventRequestMessage"))
    content = _parsed(request.get("content"))
    status, response_content = _response(members.get("eventResponseMessage"))
    verdict = _verdict(status, response_content)
    if not isinstance(content, dict):
        return _malformed(members, content, verdict)
    if verdict is Verdict.MISSED:
        ping = content.get("action") == "ping"
        verdict = Verdict.PING if ping else window.verdict(content.get("timestamp"))
    id_, host = content.get("id"), _mapping(content.get("request")).get("host")
    uri = request.get("requestUri")
    body = _json(content)
    if not isinstance(id_, str) or not id_:
        id_ = hashlib.sha256(body).hexdigest()
    return Entry(
        id_,
        body,
        verdict,
        _parameter(uri, "registry"),
        isinstance(host, str) and bool(host),
        _parameter(uri, "region"),
        _traceparent(request.get("headers")),
        verdict is Verdict.MISSED and status == _TIMED_OUT,
    )


def _malformed(members: Mapping[str, Any], content: Any, verdict: Verdict) -> Entry:
    """An entry that holds no delivery: its id, and the content in place of a delivery.

    The rest is left out: headers and URL of the request can hold the key of the function (seen).
    """
    id_ = members.get("id")
    body = _json({"id": id_ if isinstance(id_, str) else None, "content": content})
    if not isinstance(id_, str) or not id_:
        id_ = hashlib.sha256(body).hexdigest()
    return Entry(id_, body, Verdict.MALFORMED if verdict is Verdict.MISSED else verdict)


def _parsed(content: Any) -> Any:
    """The content, parsed where the log has it as text."""
    if not isinstance(content, str):
        return content
    try:
        return decode(content.encode())
    except ValueError:
        return content


def _response(message: Any) -> tuple[int, Any]:
    """The status of the response, 0 where it has none, and its content."""
    members = _mapping(message)
    try:
        status = int(members.get("statusCode", 0))
    except (TypeError, ValueError, OverflowError):
        status = 0
    return status, members.get("content")


def _verdict(status: int, content: Any) -> Verdict:
    if 200 <= status < 300:
        return Verdict.DELIVERED
    # Another server can respond 403 too, and has not kept the delivery.
    return Verdict.REFUSED if is_problem_details(status, content) else Verdict.MISSED


def _parameter(uri: Any, name: str) -> str | None:
    """The parameter `name` of the URL of the request."""
    try:
        return parse_qs(urlsplit(uri).query)[name][0] if isinstance(uri, str) else None
    except (KeyError, ValueError):
        return None


def _traceparent(headers: Any) -> str | None:
    """The header `traceparent`, in any case, where it has W3C's form.

    The other headers are left out: they can hold the key of the function.
    """
    for name, value in _mapping(headers).items():
        if isinstance(name, str) and name.lower() == "traceparent" and isinstance(value, str):
            return value if is_traceparent(value) else None
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    return text.encode(errors="backslashreplace")
