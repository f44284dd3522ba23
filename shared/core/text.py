"""Quoting values from outside: short, and safe to print anywhere."""

import json
from typing import Any


def clip(text: str, limit: int = 80) -> str:
    """`text`, or its first `limit` characters with an ellipsis as the last one."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(value: Any) -> str:
    """A parsed JSON value as a message may quote it: a container by its kind, not its content."""
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return clip(json.dumps(value))
