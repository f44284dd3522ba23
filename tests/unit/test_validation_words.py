"""What a violation of each keyword says."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.core.schemas import FORMATS, Validator, validator
from shared.core.violations import violations


def _found(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    draft = Draft202012Validator(schema, format_checker=FORMATS)
    found = violations(Validator(schema, lambda _: False, draft), value)
    return [(violation.pointer, violation.detail) for violation in found]


@pytest.mark.parametrize(
    ("schema", "value", "detail"),
    [
        ({"const": "a"}, {}, 'must be "a", not an object'),
        ({"maxLength": 1}, "ab", "must have at most 1 characters, not 2"),
        ({"type": "array", "title": "list"}, 1, "must be of type array, not 1"),
        ({"type": "object", "title": "thing"}, "x", 'must be of type object, not "x"'),
        ({"type": "string"}, 1, "must be of type string, not 1"),
        ({"type": "string", "title": "name"}, 1, "is not a valid name: 1"),
        ({"pattern": "^a", "title": "name"}, "b", 'is not a valid name: "b"'),
        ({"format": "date-time", "title": "time"}, "b", 'is not a valid time: "b"'),
        ({"minimum": 1, "title": "number"}, 0, "is not a valid number: 0"),
        ({"maximum": 1, "title": "number"}, 2, "is not a valid number: 2"),
        ({"anyOf": [{"const": 1}], "title": "one"}, 2, "is not a valid one: 2"),
        ({"minItems": 1}, [], "must not be empty"),
        ({"minLength": 1}, "", "must not be empty"),
        ({"minLength": 2}, "a", "'a' is too short"),
        ({"uniqueItems": True}, [1, 1], "must not say the same twice"),
        ({"enum": [1, 2]}, 3, "3 is not one of [1, 2]"),
        ({"pattern": "^a"}, "b" * 300, f"'{'b' * 198}…"),
    ],
)
def test_keyword_has_its_words(schema: dict[str, Any], value: Any, detail: str) -> None:
    """A violation states what its keyword requires, and quotes the value."""
    assert _found(schema, value) == [("", detail)]


def test_missing_and_unknown_members_are_named() -> None:
    """Each missing or unknown member is a violation, and an unknown one lists the known ones."""
    schema = {
        "required": ["a", "b"],
        "properties": {"a": {}, "b": {}},
        "additionalProperties": False,
    }
    known = "is not known; known are: a, b"
    assert _found(schema, {"b": 1, "c/~": 1, "d": 1}) == [
        ("/a", "is required, and missing"),
        ("/c~1~0", known),
        ("/d", known),
    ]


def test_forbidden_member_has_jsonschema_message() -> None:
    """A member whose schema is false has the message of jsonschema."""
    [(_, detail)] = _found({"properties": {"a": False}}, {"a": 1})
    assert detail == "False schema does not allow 1"


def test_valid_document_has_no_violations() -> None:
    """A valid document has no violations, whether fast accept or only jsonschema accepts it."""
    routes = {"routes": [], "rejectedQueue": "kept"}
    for name, document in (("common/host.json", "a.io"), ("routes.v1.json", routes)):
        assert violations(validator(name), document) == []
        assert validator(name).is_valid(document)
