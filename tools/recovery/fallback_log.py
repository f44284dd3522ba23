"""The fallback log in a file: lines of the log, or the JSON of a query in Application Insights."""

import json
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from shared.core import dead_letter
from shared.core.delivery import Delivery
from shared.core.parsing import decode
from shared.log import LOST
from tools.localhost.function_app import ToolError

_MARKER = f"{LOST} "


@dataclass(frozen=True)
class Lost:
    """A delivery of the fallback log, and the queues that lack it (None: not known)."""

    delivery: Delivery
    queues: tuple[str, ...] | None
    id: str | None


@dataclass
class FallbackLog:
    """The deliveries in a file, each once, and why others in it cannot be used."""

    lost: list[Lost] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)


def read(file: Path) -> FallbackLog:
    """The fallback log in `file`. Raises ToolError where it has no line of it."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ToolError(f"{file} cannot be read: {error.strerror}.") from None
    parts: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = defaultdict(dict)
    found = FallbackLog()
    for number, line in enumerate(_lines(text), 1):
        try:
            members = json.JSONDecoder().raw_decode(line)[0]
            parts[_key(members)][members["part"]] = members
        except (ValueError, KeyError, TypeError, RecursionError):
            found.unusable.append(f"line {number} of the fallback log is cut or damaged")
    if not parts and not found.unusable:
        raise ToolError(f"{file} has no line {LOST}.")
    for pieces in parts.values():
        _add(found, pieces)
    found.lost = _merged(found.lost)
    return found


def _merged(lost: list[Lost]) -> list[Lost]:
    """Each delivery once. One that lacks many queues is written several times, for some of them."""
    merged: dict[Delivery, Lost] = {}
    for each in lost:
        before = merged.get(each.delivery)
        queues = each.queues
        if before:
            known = before.queues is not None and queues is not None
            queues = (*(before.queues or ()), *(queues or ())) if known else None
        merged[each.delivery] = Lost(each.delivery, queues, each.id)
    return list(merged.values())


def _lines(text: str) -> Iterator[str]:
    """What follows each marker: in the strings of a JSON document, or in lines of text."""
    try:
        strings = _strings(json.loads(text))
    except (ValueError, RecursionError):
        strings = iter(text.splitlines())
    for each in strings:
        _, marker, rest = each.partition(_MARKER)
        if marker:
            yield rest


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _key(members: dict[str, Any]) -> tuple[Any, ...]:
    """What the parts of one delivery have in common."""
    names = ("receivedAt", "invocation", "registry", "region", "parts")
    queues = tuple(members.get("queues") or ())
    return (members["body"]["sha256"], queues, *(members.get(name) for name in names))


def _add(found: FallbackLog, pieces: dict[int, dict[str, Any]]) -> None:
    first = next(iter(pieces.values()))
    about = f"the delivery received at {first.get('receivedAt')}"
    missing = sorted(set(range(1, first["parts"] + 1)) - pieces.keys())
    if missing:
        found.unusable.append(f"{about} lacks part {', '.join(map(str, missing))}")
        return
    try:
        body = b"".join(_piece(pieces[part]["body"]) for part in sorted(pieces))
        received_at = datetime.fromisoformat(first["receivedAt"])
    except (ValueError, KeyError, TypeError):
        found.unusable.append(f"{about} is damaged")
        return
    if first["body"]["truncated"]:
        found.unusable.append(f"{about} is kept incomplete: it was too large for the log")
        return
    if sha256(body).hexdigest() != first["body"]["sha256"]:
        found.unusable.append(f"{about} does not have the SHA-256 that its line names")
        return
    delivery = Delivery(
        body,
        first.get("registry"),
        first.get("traceparent"),
        received_at,
        region=first.get("region"),
    )
    queues = first.get("queues")
    found.lost.append(Lost(delivery, None if queues is None else tuple(queues), _id(body)))


def _piece(body: dict[str, Any]) -> bytes:
    content: str = body["content"]
    if body["encoding"] == "base64":
        return b64decode(content, validate=True)
    return dead_letter.decode_body(body)


def _id(body: bytes) -> str | None:
    try:
        id_ = decode(body).get("id")
    except (ValueError, AttributeError):
        return None
    return id_ if isinstance(id_, str) else None
