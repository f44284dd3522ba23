"""Responses: status, headers and a JSON body of at most 4 KB.

The registry's delivery log keeps the beginning of a response, and the webhook's operator reads it
there: 4 KB by a user's report, 2,366 characters in a recording. The documentation states no limit.
The most important members come first.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.core.cloud_event import CloudEvent
from shared.core.delivery import Payload
from shared.core.problems import Problem
from shared.core.text import clip

MAX_RESPONSE_BYTES = 4096

# Other senders may retry. The registry does not.
# Reported, not documented: https://github.com/Azure/acr/issues/681
RETRY_AFTER_SECONDS = 10

# Of a member. A real subject has at most 255 + 1 + 128 characters: repository, colon, tag. Longer
# text is cut. Text that grows when it is escaped is cut shorter.
# https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
_MAX_TEXT_CHARS, _MAX_ESCAPED_CHARS = 400, 80

PROBLEM_TYPE = "https://acr-webhook.example/problems/"


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def accepted(event: CloudEvent, queues: Sequence[str]) -> Response:
    """202: every one of `queues` has the event."""
    attributes = {
        "id": event["id"],
        "type": event["type"],
        "source": event["source"],
        "subject": event["subject"],
    }
    return Response(202, _body(attributes, "queues", queues))


def pong(payload: Payload) -> Response:
    """200: a ping arrived."""
    attributes = {"id": payload["id"], "action": payload["action"]}
    detail = "The webhook reaches this function. A ping is not enqueued."
    return Response(200, _body({**attributes, "detail": detail}))


def health(checks: Mapping[str, bool], problems: Sequence[str] = (), routes: str = "") -> Response:
    """200 where all `checks` passed, else 503.

    The body has each check by name, `problems`, and the digest of the loaded `routes`, if any.
    """
    ok = all(checks.values())
    named = {name: "ok" if passed else "failed" for name, passed in checks.items()}
    document: dict[str, Any] = {"status": "ok" if ok else "failed"}
    if routes:
        document["routesDigest"] = routes
    document["checks"] = named
    body = _body(document, "problems", problems) if problems else _json(document)
    return Response(200 if ok else 503, body)


def problem_details(problem: Problem) -> Response:
    """The problem details (RFC 9457) of `problem`, with `errors`: its violations."""
    kind = problem.kind
    document = {
        "type": PROBLEM_TYPE + kind.reason,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
    }
    return Response(
        kind.status,
        _body(document, "errors", [asdict(violation) for violation in problem.violations]),
        "application/problem+json",
        {"Retry-After": str(RETRY_AFTER_SECONDS)} if kind.status == 503 else {},
    )


_PROBLEM_DETAILS = re.compile(r'\s*\{\s*"type"\s*:\s*"' + re.escape(PROBLEM_TYPE))


def is_problem_details(status: int, content: Any) -> bool:
    """Whether a response with `content`, whole or cut, is `problem_details` with a 4xx."""
    return (
        400 <= status < 500 and isinstance(content, str) and bool(_PROBLEM_DETAILS.match(content))
    )


def _body(members: Mapping[str, Any], name: str = "", values: Sequence[Any] = ()) -> bytes:
    """`members`, and `name` with the first of `values`: as many as fit."""
    whole = {**members, name: list(values)} if name else members
    if len(body := _json(whole)) <= MAX_RESPONSE_BYTES:
        return body
    for limit in (_MAX_TEXT_CHARS, _MAX_ESCAPED_CHARS):
        document = {
            key: clip(value, limit) if isinstance(value, str) else value
            for key, value in members.items()
        }
        if len(_json(document)) <= MAX_RESPONSE_BYTES // 2:
            break
    if not name:
        return _json(document)
    for kept in range(len(values), -1, -1):
        left_out = {f"{name}LeftOut": len(values) - kept} if kept < len(values) else {}
        body = _json({**document, name: list(values[:kept]), **left_out})
        if len(body) <= MAX_RESPONSE_BYTES:
            break
    return body


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def _json(document: Any) -> bytes:
    # A query string can contain half a surrogate pair, which must not make the response fail.
    return _ENCODER.encode(document).encode(errors="replace")
