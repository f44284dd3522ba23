"""Dead letters: rejected deliveries as JSON, in the form of `schemas/rejected.v1.json`."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from shared.core.delivery import Delivery
from shared.core.problems import Problem
from shared.core.timestamps import utc_timestamp

# A host name has at most 255 octets (RFC 1035): more of a parameter explains nothing.
_MAX_PARAMETER_CHARS = 255


def encode(problem: Problem, delivery: Delivery, limit: int) -> bytes:
    """The dead letter of `delivery` as JSON of at most `limit` bytes.

    Where not everything fits, the body has priority. The dead letter then names one violation
    only, and question marks replace what no host name, region or trace can contain in the
    parameters.
    """
    for most_errors, parameter in ((None, _printable), (1, _plain)):
        document = reasons(problem)
        document["errors"] = document["errors"][:most_errors]
        document["receivedAt"] = utc_timestamp(delivery.received_at)
        if delivery.registry is not None:
            document["registry"] = parameter(delivery.registry)[:_MAX_PARAMETER_CHARS]
        if delivery.region is not None:
            document["region"] = parameter(delivery.region)[:_MAX_PARAMETER_CHARS]
        if delivery.traceparent is not None:
            document["traceparent"] = parameter(delivery.traceparent)[:_MAX_PARAMETER_CHARS]
        room = limit - len(_json(document)) - len(',"body":')
        document["body"] = encode_body(delivery.body, room)
        if not document["body"]["truncated"]:
            break
    return _json(document)


def reasons(problem: Problem) -> dict[str, Any]:
    """The members of a dead letter that say why: reason, status, detail, and every violation."""
    return {
        "reason": problem.kind.reason,
        "status": problem.kind.status,
        "detail": problem.detail,
        "errors": [asdict(violation) for violation in problem.violations],
    }


def encode_body(content: bytes, limit: int) -> dict[str, Any]:
    """`content` as a JSON object of at most `limit` bytes: text if UTF-8 and short, else base64.

    Content that fits neither way is cut. The length and the SHA-256 are those of the whole.
    """
    document = {
        "encoding": "base64",
        "content": "",
        "length": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "truncated": False,
    }
    room = limit - len(_json(document))
    # As JSON, text never gets shorter: a huge body is not decoded.
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


def decode_body(document: Mapping[str, Any]) -> bytes:
    """The bytes that `encode_body` got. Where it cut them: their beginning."""
    content: str = document["content"]
    return content.encode() if document["encoding"] == "utf-8" else b64decode(content)


def _printable(text: str) -> str:
    """`text` with what UTF-8 cannot hold (half surrogate pairs) replaced."""
    return text.encode(errors="replace").decode()


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.:-]", "?", text)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
