"""Bytes to a JSON object."""

import json
import math
from codecs import BOM_UTF8
from collections import Counter
from typing import Any, NoReturn

from shared.core.problems import Kind, Problem
from shared.core.text import quoted

# The deepest known delivery has two levels. .NET's reader refuses more than 64 (measured), of which
# the event around the payload is one. The depth that Python's json can write differs between
# versions.
MAX_DEPTH = 63


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises Problem (400)."""
    try:
        document = decode(body)
    except ValueError as error:
        raise _problem(str(error)) from None
    if not isinstance(document, dict):
        raise _problem("the outermost value is not an object")
    return document


def decode(content: bytes, most_levels: int = MAX_DEPTH) -> Any:
    """The JSON value in `content`: UTF-8, with or without a byte order mark.

    Raises ValueError with the error and its place. Beyond errors in the grammar of RFC 8259, these
    are errors: a member name that occurs twice in one object, a number that no double can hold,
    more than `most_levels`, half of a surrogate pair.
    """
    try:
        text = content.removeprefix(BOM_UTF8).decode()
        document = _DECODER.decode(text)
        _require_transferable(document, text, most_levels)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except UnicodeEncodeError:
        raise ValueError("a string has half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"{error.msg} at {where}" if text else "it is empty") from None
    except RecursionError:
        raise ValueError(_too_deep(most_levels)) from None
    return document


def _require_transferable(document: Any, text: str, most_levels: int) -> None:
    """Raises ValueError where `document`, parsed from `text`, could not be written again."""
    if text.count("{") + text.count("[") > most_levels and _depth(document) > most_levels:
        raise ValueError(_too_deep(most_levels))
    if "\\ud" in text or "\\uD" in text:
        json.dumps(document, ensure_ascii=False).encode()


def _too_deep(most_levels: int) -> str:
    return f"nested deeper than {most_levels} levels"


def _problem(why: str) -> Problem:
    return Problem(Kind.NOT_JSON, f"The body is not a JSON object: {why}.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the member name {quoted(twice)} occurs twice in one object")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _integer(digits: str) -> int:
    # Consumers read it as a double where it is beyond 64 bits. Python itself refuses 4,300 digits.
    _finite(digits)
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
    return depth


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_no_constant,
)
