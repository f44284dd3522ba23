"""Violations of a schema, worded for an operator."""

from collections.abc import Iterable
from typing import Any

from jsonschema.exceptions import ValidationError

from shared.core.problems import Violation
from shared.core.schemas import Validator
from shared.core.text import clip, quoted


def violations(validator: Validator, document: Any) -> list[Violation]:
    """All violations of `document`, each once, in the order of their places."""
    if validator.fast_accept(document):
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
            detail = f"must be {quoted(wanted)}, not {quoted(value)}"
        case "maxLength":
            detail = f"must have at most {wanted} characters, not {len(value)}"
        case "type" if wanted in ("object", "array") or not title:
            detail = f"must be of type {wanted}, not {quoted(value)}"
        case "type" | "pattern" | "format" | "minimum" | "maximum" | "anyOf" if title:
            detail = f"is not a valid {title}: {quoted(value)}"
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
