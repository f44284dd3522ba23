"""Fast accept: a schema compiled into a function that recognizes valid documents.

Most deliveries are valid, and jsonschema needs about 0.1 ms to find that out. The compiled function
needs a tenth of that, for the plain keywords that our schemas use. A document that it does not
accept goes to jsonschema, which decides and words every error.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import FormatChecker

ANNOTATIONS = {"title", "description", "$schema", "$id"}

# Compared by the exact class: in Python a bool is an int, in JSON Schema it is no integer.
_CLASSES = {"string": str, "integer": int, "object": dict}

Test = Callable[[Any], bool]


def compile_schema(schema: Mapping[str, Any], formats: FormatChecker) -> Test:
    """A function that is true only for values that are valid against `schema`.

    The function can be false for a valid value. For a schema with a keyword that is not known here,
    it is always false.
    """
    tests = [
        test
        for keyword in schema.keys() - ANNOTATIONS - {"type"}
        for test in [_keyword_test(keyword, schema, formats)]
    ]
    wanted = _CLASSES.get(str(schema.get("type")))
    if wanted is None or None in tests:
        return lambda _: False
    match [test for test in tests if test]:
        case []:
            return lambda value: type(value) is wanted
        case [one]:
            return lambda value: type(value) is wanted and one(value)
        case [one, two]:
            return lambda value: type(value) is wanted and one(value) and two(value)
        case several:
            return lambda value: type(value) is wanted and all(test(value) for test in several)


def _keyword_test(keyword: str, schema: Mapping[str, Any], formats: FormatChecker) -> Test | None:
    """The test for one keyword of a schema, given that the value is of the schema's type."""
    wanted = schema[keyword]
    match keyword, schema.get("type"):
        case "const", "string":
            return lambda value: bool(value == wanted)
        case "pattern", "string":
            search = re.compile(wanted).search
            return lambda value: search(value) is not None
        case "maxLength", "string":
            return lambda value: len(value) <= wanted
        case "format", "string":
            return _format_test(*formats.checkers[wanted]) if wanted in formats.checkers else None
        case "minimum", "integer":
            return lambda value: bool(value >= wanted)
        case "maximum", "integer":
            return lambda value: bool(value <= wanted)
        case "required", "object":
            return frozenset(wanted).issubset
        case "properties", "object":
            return _properties_test(
                {name: compile_schema(schema, formats) for name, schema in wanted.items()}
            )
    return None


def _format_test(
    check: Callable[[Any], bool], raises: type[Exception] | tuple[type[Exception], ...]
) -> Test:
    def test(value: Any) -> bool:
        try:
            return check(value)
        except raises:
            return False

    return test


def _properties_test(tests: Mapping[str, Test]) -> Test:
    def test(members: Mapping[str, Any]) -> bool:
        # A generator would cost more than most tests do.
        for name, value in members.items():
            # Unknown members are allowed.
            if name in tests and not tests[name](value):
                return False
        return True

    return test
