"""The record of a rejected delivery, as it is kept on a queue (`schemas/rejected.v1.json`)."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

from shared.core.problems import Problem
from shared.core.timestamps import moment

# Characters. More of one than a host name can have explains nothing.
_MAX_PARAMETER = 255


def record(
    problem: Problem,
    body_bytes: bytes,
    *,
    received_at: datetime,
    registry: str | None,
    traceparent: str | None,
    limit: int,
) -> bytes:
    """The record as JSON of at most `limit` bytes.

    Where not all of it fits, the body goes first: of the violations only one is named then, and in
    the parameters question marks stand for what neither a host name nor a trace can have in them.
    """
    for most_errors, parameter in ((None, _printable), (1, _plain)):
        document = reasons(problem)
        document["errors"] = document["errors"][:most_errors]
        document["receivedAt"] = moment(received_at)
        if registry is not None:
            document["registry"] = parameter(registry)[:_MAX_PARAMETER]
        if traceparent is not None:
            document["traceparent"] = parameter(traceparent)[:_MAX_PARAMETER]
        document["body"] = body(body_bytes, limit - len(_json(document)) - len(',"body":'))
        if not document["body"]["truncated"]:
            break
    return _json(document)


def reasons(problem: Problem) -> dict[str, Any]:
    """The members of a record that say why: reason, status, detail, and every violation."""
    return {
        "reason": problem.kind.reason,
        "status": problem.kind.status,
        "detail": problem.detail,
        "errors": [asdict(violation) for violation in problem.violations],
    }


def body(content: bytes, limit: int) -> dict[str, Any]:
    """`content` as JSON of at most `limit` bytes: as text where it is UTF-8 and fits, else base64.

    What fits neither way is cut; its length and SHA-256 are those of the whole.
    """
    document = {
        "encoding": "base64",
        "content": "",
        "length": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "truncated": False,
    }
    room = limit - len(_json(document))
    # As JSON, text never gets shorter: of a huge body not even its encoding is looked at.
    if len(content) <= room:
        with suppress(UnicodeDecodeError):
            text = content.decode()
            if len(_json(text)) - len('""') <= room:
                return document | {"encoding": "utf-8", "content": text}
    fitting = content[: max(room // 4 * 3, 0)]
    return document | {
        "content": b64encode(fitting).decode(),
        "truncated": len(fitting) < len(content),
    }


def body_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes that `body` made `document` of; their beginning where it was truncated."""
    content: str = document["content"]
    return content.encode() if document["encoding"] == "utf-8" else b64decode(content)


def _printable(text: str) -> str:
    """`text` with what UTF-8 cannot hold (half surrogate pairs) replaced."""
    return text.encode(errors="replace").decode()


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.:-]", "?", text)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
