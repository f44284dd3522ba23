"""What the commands show and select of a message: an event or a dead letter."""

from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.core import dead_letter
from shared.core.parsing import MAX_DEPTH, decode
from shared.core.regions import split_endpoint
from shared.core.text import clip

NOT_A_DEAD_LETTER = "not a dead letter"


@dataclass(frozen=True)
class Facts:
    """A message in short. Each text comes from the message, and is clipped.

    Args:
        id: The id of the event.
        time: Of an event, its time. Of a dead letter, when it was received.
        registry: The login server.
        repository: The repository, or the name of the chart.
        detail: Of an event, type and subject. Of a dead letter, reason, status and violations.
        reason: Why it was refused. None of an event.

    """

    id: str | None = None
    time: str | None = None
    registry: str | None = None
    repository: str | None = None
    detail: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Selection:
    """The dead letters that a command works on: those that match every filter given."""

    reasons: frozenset[str] = frozenset()
    registries: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    since: datetime | None = None

    def matches(self, facts: Facts) -> bool:
        """Whether a message with these facts is selected."""
        if self.reasons and facts.reason not in self.reasons:
            return False
        if self.registries and login_server(facts.registry) not in self.registries:
            return False
        if self.ids and facts.id not in self.ids:
            return False
        return self.since is None or _at_least(facts.time, self.since)

    def is_empty(self) -> bool:
        """Whether every message is selected."""
        return self == Selection()


def login_server(host: str | None) -> str | None:
    """The login server of `host`, which may be a regional endpoint, in lower case."""
    return split_endpoint(host.lower())[0] if host else None


def content_of(text: str) -> Any:
    """The JSON value in a message. Text where it is no JSON, or no base64."""
    try:
        content = b64decode(text, validate=True)
    except ValueError:
        return text
    try:
        return decode(content, MAX_DEPTH + 1)  # an event is one level deeper than its delivery
    except ValueError:
        return content.decode(errors="replace")


def facts(message: Any) -> Facts:
    """The facts of the JSON value in a message."""
    match message:
        case {"specversion": str(), "type": str(type_), "subject": str(subject)}:
            detail = f"{type_.rpartition('.')[2]} {subject}"
            named = {
                "request": {"host": message.get("acrregistry")},
                "target": _member(message.get("data"), "target"),
            }
            return _facts(named, message.get("id"), message.get("time"), detail)
        case {"reason": str(reason), "status": int(status), "errors": [*errors], "body": {}}:
            detail = "\n".join([f"{reason} ({status})", *map(violation, errors)])
            delivery = _delivery(message["body"])
            registry = message.get("registry")
            id_, time = _member(delivery, "id"), message.get("receivedAt")
            return _facts(delivery, id_, time, detail, reason, registry)
        case _:
            return Facts(detail=f"(not ours) {clip(str(message), 200)}", reason=NOT_A_DEAD_LETTER)


def violation(error: Any) -> str:
    """A violation of a schema in one line."""
    match error:
        case {"pointer": str(pointer), "detail": str(detail)}:
            return f"{pointer} {detail}".strip()
    return str(error)


def _facts(
    delivery: Any,
    id_: Any,
    time: Any,
    detail: str,
    reason: str | None = None,
    registry: Any = None,
) -> Facts:
    target = _member(delivery, "target")
    host = _member(_member(delivery, "request"), "host")
    return Facts(
        _text(id_),
        _text(time),
        _text(registry) or _text(host),
        _text(_member(target, "repository")) or _text(_member(target, "name")),
        clip(detail, 400),
        reason,
    )


def _delivery(body: Any) -> Any:
    """The JSON value in the body of a dead letter. None where it has none."""
    try:
        return decode(dead_letter.decode_body(body))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return clip(value, 256) if isinstance(value, str) else None


def _at_least(time: str | None, since: datetime) -> bool:
    try:
        at = datetime.fromisoformat(time or "")
    except ValueError:
        return False
    return at.replace(tzinfo=at.tzinfo or UTC) >= since
