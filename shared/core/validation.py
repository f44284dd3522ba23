"""Validation against the JSON Schema documents in `schemas/`."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from shared.core.problems import Kind, Problem, Violation
from shared.core.schema_compiler import ANNOTATIONS, quick_test
from shared.core.text import clip, shown
from shared.core.timestamps import to_utc

SCHEMAS = Path(__file__).parent.parent / "schemas"

# A checker of our own instead of an optional package's: without that package the format would
# silently not be checked, and what passes here must be what normalisation can convert.
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
    """The document `schemas/<name>`, with the documents it refers to put in place.

    References are resolved once, here: following them on every validation would double its time.
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
    """The schema that is valid where `one` and `other` are: one pass where `allOf` would take two.

    Merged are the keywords that mean the same wherever they stand; annotations are the first's.
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
# Keywords that speak of their neighbours.
_SIDE_BY_SIDE = {
    "additionalProperties", "unevaluatedProperties", "patternProperties", "items", "prefixItems",
    "unevaluatedItems", "contains", "minContains", "maxContains", "if", "then", "else",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Validator:
    """A schema made ready: `surely_valid` is quick and may say no too often, `draft` knows."""

    document: Mapping[str, Any]
    surely_valid: Callable[[Any], bool]
    draft: Draft202012Validator

    def is_valid(self, document: Any) -> bool:
        """Whether `document` is valid."""
        return self.surely_valid(document) or self.draft.is_valid(document)


@cache
def validator(name: str) -> Validator:
    """The validator for the document `schemas/<name>`."""
    document = schema(name)
    draft = Draft202012Validator(document, format_checker=FORMATS)
    return Validator(document, quick_test(document, FORMATS), draft)


def violations(validator: Validator, document: Any) -> list[Violation]:
    """All violations of `document`, each once, in the order of their places."""
    if validator.surely_valid(document):
        return []
    found = {v for error in validator.draft.iter_errors(document) for v in _described(error)}
    return sorted(found, key=lambda violation: (violation.pointer, violation.detail))


def _described(error: ValidationError) -> Iterable[Violation]:
    place = "".join(f"/{_step(step)}" for step in error.absolute_path)
    wanted: Any = error.validator_value
    value: Any = error.instance
    title = error.schema.get("title") if isinstance(error.schema, dict) else None
    match error.validator:
        case "required":
            missing = [name for name in wanted if name not in value]
            return [Violation(f"{place}/{name}", "is required, and missing") for name in missing]
        case "const":
            detail = f"must be {shown(wanted)}, not {shown(value)}"
        case "maxLength":
            detail = f"must have at most {wanted} characters, not {len(value)}"
        case "type" if wanted in ("object", "array") or not title:
            detail = f"must be of type {wanted}, not {shown(value)}"
        case "type" | "pattern" | "format" | "minimum" | "maximum" | "anyOf" if title:
            detail = f"is not a valid {title}: {shown(value)}"
        case "additionalProperties" if wanted is False and isinstance(error.schema, dict):
            known = error.schema["properties"]
            return [
                Violation(f"{place}/{_step(name)}", f"is not known; known are: {', '.join(known)}")
                for name in value.keys() - known.keys()
            ]
        case "minItems" | "minLength" if wanted == 1:
            detail = "must not be empty"
        case "uniqueItems":
            detail = "must not say the same twice"
        case _:
            detail = clip(error.message, 200)
    return [Violation(place, detail)]


def _step(name: str | int) -> str:
    """One step of a JSON Pointer."""
    return str(name).replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True, slots=True)
class _Rules:
    validator: Validator
    known_fields: Mapping[str, Any]


class DeliveryValidator:
    """Checks deliveries against the document of their action, `schemas/deliveries/<action>.json`.

    Reads and compiles the documents of `actions` once, when it is made.
    """

    def __init__(self, actions: Iterable[str]) -> None:
        self._any = _rules("common/delivery.json")
        self._rules = {action: _rules(f"deliveries/{action}.json") for action in actions}

    def validate(self, document: dict[str, Any]) -> dict[str, Any]:
        """The valid delivery in `document`, less its null and empty fields.

        Only fields that the documents know are looked at; all others are carried along as they
        are. Raises Problem (422) with all violations.
        """
        action = document.get("action")
        known = isinstance(action, str) and action in self._rules
        rules = self._rules[str(action)] if known else self._any
        delivery = _without_empty(document, rules.known_fields)
        found = violations(rules.validator, delivery)
        if "action" in delivery and not known:
            detail = f"is {shown(action)}, none of the known: {', '.join(self._rules)}"
            found.insert(0, Violation("/action", detail))
            raise Problem(Kind.UNKNOWN_ACTION, f"The action {detail}.", found)
        if found:
            detail = f"{len(found)} violation(s), the first at {found[0].pointer or 'the top'}: "
            raise Problem(Kind.INVALID_DELIVERY, f"{detail}{found[0].detail}.", found)
        return delivery


def _rules(name: str) -> _Rules:
    ready = validator(name)
    return _Rules(ready, _known_fields(ready.document))


def _known_fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Names of the properties that `schema` lists, each with those of its own value."""
    fields: dict[str, Any] = {}
    for part in schema.get("allOf", ()):
        fields |= _known_fields(part)
    for name, value in schema.get("properties", {}).items():
        fields[name] = fields.get(name, {}) | _known_fields(value)
    return fields


def _without_empty(members: dict[str, Any], known_fields: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, value in members.items():
        if name in known_fields:
            if isinstance(value, dict):
                value = _without_empty(value, known_fields[name])
            # Neither 0 nor false, which say something.
            if not value and (value is None or isinstance(value, str | dict | list)):
                continue
        kept[name] = value
    return kept
