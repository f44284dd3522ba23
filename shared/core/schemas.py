"""The JSON Schema documents in `schemas/`, ready for use."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from jsonschema import Draft202012Validator, FormatChecker

from shared.core.schema_compiler import ANNOTATIONS, compile_schema
from shared.core.timestamps import to_utc

SCHEMAS = Path(__file__).parent.parent / "schemas"

# A checker of our own instead of an optional package's: without that package, jsonschema would
# silently not check the format, and every timestamp that passes must be one that `to_utc` converts.
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_timestamp(value: object) -> bool:
    return not isinstance(value, str) or bool(to_utc(value))


@cache
def _documents() -> Mapping[str, Any]:
    """Every schema document by its `$id`."""
    documents = (json.loads(path.read_bytes()) for path in SCHEMAS.rglob("*.json"))
    return {document["$id"]: document for document in documents}


def schema(name: str) -> dict[str, Any]:
    """The document `schemas/<name>`, with each reference replaced by the document it names.

    References are resolved once, here. On every validation they would double its time (measured).
    References within a document (`#/…`) stay.
    """
    document = json.loads((SCHEMAS / name).read_bytes())
    return dict(_resolved(document, document["$id"]))


def _resolved(part: Any, base: str) -> Any:
    if isinstance(part, list):
        return [_resolved(item, base) for item in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref", "#")
    if reference.startswith("#"):
        return {key: _resolved(value, base) for key, value in part.items()}
    beside = {
        key: _resolved(value, base)
        for key, value in part.items()
        if key not in ("$ref", "$id", "$schema")
    }
    target_id = urljoin(base, reference)
    target = _resolved(_documents()[target_id], target_id)
    if "$defs" in target:
        raise ValueError(f"{target_id} is referred to, and so may not refer to parts of itself")
    target = {key: value for key, value in target.items() if key not in ("$id", "$schema")}
    return _both(target, beside)


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The schema that is valid where both `one` and `other` are: one pass instead of two.

    It merges the keywords that mean the same in any place. Annotations come from `one`.
    """
    shared = one.keys() & other.keys()
    if shared - _MERGED or not _SIDE_BY_SIDE.isdisjoint(one.keys() | other.keys()):
        return {**one, "allOf": [*one.get("allOf", ()), other]}
    both = {**other, **one}
    if "required" in shared:
        both["required"] = [*one["required"], *other["required"]]
    if "properties" in shared:
        both["properties"] = {**one["properties"], **other["properties"]} | {
            name: _both(one["properties"][name], other["properties"][name])
            for name in one["properties"].keys() & other["properties"].keys()
        }
    return both


_MERGED = {"required", "properties", *ANNOTATIONS}
# Keywords whose meaning depends on the keywords beside them.
_SIDE_BY_SIDE = {
    "additionalProperties", "unevaluatedProperties", "patternProperties", "items", "prefixItems",
    "unevaluatedItems", "contains", "minContains", "maxContains", "if", "then", "else",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Validator:
    """A schema, ready for use.

    Args:
        document: The schema.
        fast_accept: True only for valid documents. Where it is false, `draft` decides.
        draft: The validator of jsonschema.

    """

    document: Mapping[str, Any]
    fast_accept: Callable[[Any], bool]
    draft: Draft202012Validator

    def is_valid(self, document: Any) -> bool:
        """Whether `document` is valid."""
        return self.fast_accept(document) or self.draft.is_valid(document)


@cache
def validator(name: str) -> Validator:
    """The validator for the document `schemas/<name>`."""
    document = schema(name)
    draft = Draft202012Validator(document, format_checker=FORMATS)
    return Validator(document, compile_schema(document, FORMATS), draft)
