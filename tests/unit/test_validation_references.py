"""How references between schema documents are resolved."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.core import schemas, validation

Resolved = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


@pytest.fixture
def resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolved]:
    """Resolves a document that refers to `part`, with the keywords of `beside` next to it."""

    def schema(part: dict[str, Any], beside: dict[str, Any]) -> dict[str, Any]:
        ids = {name: f"https://a.example/{name}.json" for name in ("main", "part")}
        for name, document in (("main", {"$ref": "part.json"} | beside), ("part", part)):
            document = {"$schema": "s", "$id": ids[name]} | document
            (tmp_path / f"{name}.json").write_text(json.dumps(document))
        schemas._documents.cache_clear()
        return schemas.schema("main.json")

    monkeypatch.setattr(schemas, "SCHEMAS", tmp_path)
    yield schema
    schemas._documents.cache_clear()


@pytest.mark.parametrize(
    ("part", "beside", "both"),
    [
        ({"type": "string"}, {}, {"type": "string"}),
        ({"type": "string"}, {"maxLength": 5}, {"type": "string", "maxLength": 5}),
        ({"title": "part"}, {"title": "main"}, {"title": "part"}),
        ({"required": ["a"]}, {"required": ["b"]}, {"required": ["a", "b"]}),
        ({"required": ["a"]}, {"type": "object"}, {"required": ["a"], "type": "object"}),
        ({"properties": {"a": {"minimum": 1}}}, {"properties": {"b": {}}},
         {"properties": {"a": {"minimum": 1}, "b": {}}}),
        ({"properties": {"a": {"minimum": 1}}}, {"properties": {"a": {"maximum": 5}}},
         {"properties": {"a": {"minimum": 1, "maximum": 5}}}),
        ({"type": "object"}, {"properties": {"a": {}}},
         {"type": "object", "properties": {"a": {}}}),
    ],
)  # fmt: skip
def test_references_are_merged(
    resolved: Resolved, part: dict[str, Any], beside: dict[str, Any], both: dict[str, Any]
) -> None:
    """The keywords beside a reference are merged with the referenced document."""
    assert resolved(part, beside) == both


@pytest.mark.parametrize(
    ("part", "beside", "both"),
    [
        ({"maxLength": 5}, {"maxLength": 3}, {"maxLength": 5, "allOf": [{"maxLength": 3}]}),
        ({"maxLength": 5, "allOf": [{"minLength": 1}]}, {"maxLength": 3},
         {"maxLength": 5, "allOf": [{"minLength": 1}, {"maxLength": 3}]}),
    ],
)  # fmt: skip
def test_other_common_keywords_hold_both(
    resolved: Resolved, part: dict[str, Any], beside: dict[str, Any], both: dict[str, Any]
) -> None:
    """A keyword in both documents that cannot be merged applies in both forms."""
    assert resolved(part, beside) == both


@pytest.mark.parametrize(
    "keyword",
    [
        "additionalProperties", "unevaluatedProperties", "patternProperties", "items",
        "prefixItems", "unevaluatedItems", "contains", "minContains", "maxContains", "if", "then",
        "else",
    ],
)  # fmt: skip
def test_keywords_keep_their_neighbors(resolved: Resolved, keyword: str) -> None:
    """A keyword whose meaning depends on its neighbors gets no others."""
    one: dict[str, Any] = {keyword: {}}
    other: dict[str, Any] = {"properties": {"a": {}}}
    assert resolved(one, other) == {**one, "allOf": [other]}
    assert resolved(other, one) == {**other, "allOf": [one]}


def test_reference_to_definitions_is_error(resolved: Resolved) -> None:
    """A document that refers to its own parts raises an error if another document refers to it."""
    message = "https://a.example/part.json is referred to, and so may not refer to parts of itself"
    with pytest.raises(ValueError, match=f"^{message}$"):
        resolved({"$defs": {}}, {})


def test_references_within_stay(resolved: Resolved) -> None:
    """A reference within a document is left to jsonschema."""
    beside = {"$defs": {"d": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/d"}}}
    assert resolved({"type": "object"}, beside) == {"type": "object", **beside}


def test_fields_of_every_part_are_known() -> None:
    """Every field that a document names is known, with all fields inside it."""
    inner: dict[str, Any] = {"properties": {"b": {}}}
    one = {"properties": {"a": inner}, "allOf": [{"properties": {"a": {"properties": {"c": {}}}}}]}
    two = {"allOf": [{"properties": {"d": {}}}, {"properties": {"e": inner}}]}
    assert validation._known_fields(one) == {"a": {"b": {}, "c": {}}}
    assert validation._known_fields(two) == {"d": {}, "e": {"b": {}}}
