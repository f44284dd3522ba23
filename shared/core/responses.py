"""What a delivery is answered: status, headers and a JSON body of at most 4 KB.

The registry keeps the first 4 KB of an answer and shows them to the operator of the webhook.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.core.problems import Problem
from shared.core.text import clip

MAX_BYTES = 4096

# Seconds. The registry does not retry; whoever sends by other means may.
RETRY_AFTER = 10

# Characters of a member. A real subject has at most 255 + 1 + 128; what is longer, or grows when
# escaped, is cut.
_MAX_TEXT, _MAX_ESCAPED = 400, 80

PROBLEM_TYPE = "https://acr-webhook.example/problems/"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def accepted(event: Mapping[str, Any], queues: Sequence[str]) -> Answer:
    """202: the event lies on every one of `queues`."""
    attributes = {name: event[name] for name in ("id", "type", "source", "subject")}
    return Answer(202, _body(attributes, "queues", queues))


def pong(delivery: Mapping[str, Any]) -> Answer:
    """200: a ping arrived."""
    attributes = {name: delivery[name] for name in ("id", "action")}
    detail = "The webhook reaches this function. A ping is not enqueued."
    return Answer(200, _body({**attributes, "detail": detail}))


def health(checks: Mapping[str, bool]) -> Answer:
    """200 where all `checks` passed, else 503, with each by name."""
    ok = all(checks.values())
    named = {name: "ok" if passed else "failed" for name, passed in checks.items()}
    body = _json({"status": "ok" if ok else "failed", "checks": named})
    return Answer(200 if ok else 503, body)


def refused(problem: Problem) -> Answer:
    """The problem details (RFC 9457) of `problem`, with `errors`: its violations."""
    kind = problem.kind
    document = {
        "type": PROBLEM_TYPE + kind.reason,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
    }
    return Answer(
        kind.status,
        _body(document, "errors", [asdict(violation) for violation in problem.violations]),
        "application/problem+json",
        {"Retry-After": str(RETRY_AFTER)} if kind.status == 503 else {},
    )


_REFUSAL = re.compile(r'\s*\{\s*"type"\s*:\s*"' + re.escape(PROBLEM_TYPE))


def is_refusal(status: int, content: Any) -> bool:
    """Whether an answer, of which `content` is the text or its beginning, is `refused` with 4xx."""
    return 400 <= status < 500 and isinstance(content, str) and bool(_REFUSAL.match(content))


def _body(members: Mapping[str, Any], name: str = "", values: Sequence[Any] = ()) -> bytes:
    """`members` and the list `values` as `name`, of which as many are left out as do not fit."""
    whole = {**members, name: list(values)} if name else members
    if len(body := _json(whole)) <= MAX_BYTES:
        return body
    for limit in (_MAX_TEXT, _MAX_ESCAPED):
        document = {
            key: clip(value, limit) if isinstance(value, str) else value
            for key, value in members.items()
        }
        if len(_json(document)) <= MAX_BYTES // 2:
            break
    if not name:
        return _json(document)
    for kept in range(len(values), -1, -1):
        left_out = {f"{name}LeftOut": len(values) - kept} if kept < len(values) else {}
        body = _json({**document, name: list(values[:kept]), **left_out})
        if len(body) <= MAX_BYTES:
            break
    return body


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def _json(document: Any) -> bytes:
    # Half a surrogate pair can come from a query string; it must not make the answer fail.
    return _ENCODER.encode(document).encode(errors="replace")
