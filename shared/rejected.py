"""The record of a rejected delivery, as it is kept on a queue (`schemas/rejected.v1.json`)."""

import hashlib
import json
from base64 import b64encode
from dataclasses import asdict
from datetime import datetime
from typing import Any

from shared.problems import Problem

# More of it than a host name can have explains nothing.
_MAX_PARAMETER = 255


def record(
    problem: Problem,
    body: bytes,
    *,
    received_at: datetime,
    registry: str | None,
    traceparent: str | None,
    limit: int,
) -> bytes:
    """The record as JSON of at most `limit` bytes.

    The body is kept as text where it is UTF-8 and fits, else in base64; what fits neither way is
    cut, its length and SHA-256 being those of the whole.
    """
    document: dict[str, Any] = {
        "reason": problem.kind.reason,
        "status": problem.kind.status,
        "detail": problem.detail,
        "errors": [asdict(violation) for violation in problem.violations],
        "receivedAt": received_at.isoformat().replace("+00:00", "Z"),
    }
    if registry is not None:
        document["registry"] = _printable(registry)[:_MAX_PARAMETER]
    if traceparent is not None:
        document["traceparent"] = _printable(traceparent)[:_MAX_PARAMETER]
    document["body"] = {
        "encoding": "utf-8",
        "content": "",
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "truncated": False,
    }
    room = limit - len(_json({**document, "body": {**document["body"], "encoding": "base64"}}))
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and len(_json(text)) - len('""') <= room:
        document["body"]["content"] = text
    else:
        fitting = body[: room // 4 * 3]
        document["body"] |= {
            "encoding": "base64",
            "content": b64encode(fitting).decode(),
            "truncated": len(fitting) < len(body),
        }
    return _json(document)


def _printable(text: str) -> str:
    """`text` with what UTF-8 cannot hold (half surrogate pairs) replaced."""
    return text.encode(errors="replace").decode()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
