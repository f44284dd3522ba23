"""Validation of payloads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from shared.core.delivery import JsonObject, Payload
from shared.core.problems import Kind, Problem, Violation
from shared.core.schemas import Validator, validator
from shared.core.text import quoted
from shared.core.violations import violations


@dataclass(frozen=True, slots=True)
class _Rules:
    validator: Validator
    known_fields: Mapping[str, Any]


class PayloadValidator:
    """Validates payloads with the document of their action, `schemas/deliveries/<action>.json`.

    The constructor reads and compiles the documents of `actions`, once.
    """

    def __init__(self, actions: Iterable[str]) -> None:
        self._any = _rules("common/delivery.json")
        self._rules = {action: _rules(f"deliveries/{action}.json") for action in actions}

    def validate(self, document: JsonObject) -> Payload:
        """The payload in `document`, without its null and empty fields, its sizes as integers.

        Fields that the schema does not know stay as they are. Raises Problem (422) with all
        violations.
        """
        action = document.get("action")
        known = isinstance(action, str) and action in self._rules
        rules = self._rules[str(action)] if known else self._any
        payload = _without_empty(document, rules.known_fields)
        found = violations(rules.validator, payload)
        if "action" in payload and not known:
            detail = f"is {quoted(action)}, none of the known: {', '.join(self._rules)}"
            found.insert(0, Violation("/action", detail))
            raise Problem(Kind.UNKNOWN_ACTION, f"The action {detail}.", found)
        if found:
            detail = f"{len(found)} violation(s), the first at {found[0].pointer or 'the top'}: "
            raise Problem(Kind.INVALID_DELIVERY, f"{detail}{found[0].detail}.", found)
        _write_integers(payload.get("target", {}))
        return cast("Payload", payload)


def _write_integers(target: dict[str, Any]) -> None:
    """Makes 524 of 524.0, which is an integer for JSON Schema, but not for .NET (measured)."""
    for name in ("size", "length"):
        if isinstance(target.get(name), float):
            target[name] = int(target[name])


def _rules(name: str) -> _Rules:
    ready = validator(name)
    return _Rules(ready, _known_fields(ready.document))


def _known_fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The names of the properties in `schema`, each with the names in its own schema."""
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
            # 0 and false are values, not empty.
            if not value and (value is None or isinstance(value, str | dict | list)):
                continue
        kept[name] = value
    return kept
