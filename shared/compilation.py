"""Validators that are quick where a document is valid, as most are.

jsonschema prepares a subschema anew each time it descends into it, which takes more than half of
the time of validating a delivery. Here the keywords that deliveries need keep what was prepared,
and for the plainest subschemas a test says yes before jsonschema is asked. Only jsonschema says no:
every error is its own.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

ANNOTATIONS = {"title", "description"}


def compiled(schema: Mapping[str, Any], format_checker: FormatChecker) -> Draft202012Validator:
    """A validator for `schema`, a Draft 2020-12 document that lives as long as the process."""
    validator: Draft202012Validator = _Validator(schema, format_checker=format_checker)
    return validator


def _properties(
    validator: Any, properties: Mapping[str, Any], instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name, subschema in properties.items():
            if name in instance:
                surely_valid, prepared = _prepared(validator, subschema)
                value = instance[name]
                if not surely_valid(value):
                    for error in prepared.iter_errors(value):
                        error.path.appendleft(name)
                        error.schema_path.appendleft(name)
                        yield error


def _all_of(
    validator: Any, subschemas: Sequence[Any], instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    for index, subschema in enumerate(subschemas):
        for error in _prepared(validator, subschema)[1].iter_errors(instance):
            error.schema_path.appendleft(index)
            yield error


# By the identity of the subschema, which its validator keeps alive: no other can get the same.
_PREPARED: dict[int, tuple[Callable[[Any], bool], Any]] = {}


def _prepared(validator: Any, subschema: Any) -> tuple[Callable[[Any], bool], Any]:
    found = _PREPARED.get(id(subschema))
    if found is None:
        found = (_test(subschema), validator.evolve(schema=subschema))
        _PREPARED[id(subschema)] = found
    return found


def _test(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """A test that only valid values pass, though perhaps not all of them."""
    keywords = schema.keys() - ANNOTATIONS
    # By the exact class: a bool is an int to Python, but no integer to JSON Schema.
    wanted = {"string": str, "integer": int}.get(str(schema.get("type")))
    if wanted and keywords == {"type"}:
        return lambda value: type(value) is wanted
    if wanted is str and keywords == {"type", "pattern"}:
        search = re.compile(schema["pattern"]).search
        return lambda value: type(value) is str and search(value) is not None
    if wanted is int and keywords == {"type", "minimum", "maximum"}:
        least, most = schema["minimum"], schema["maximum"]
        return lambda value: type(value) is int and bool(least <= value <= most)
    return lambda _: False


_KEYWORDS = {"properties": _properties, "allOf": _all_of}
_Validator = extend(Draft202012Validator, _KEYWORDS)  # type: ignore[no-untyped-call]
