"""The fast accept of valid documents, compared with jsonschema."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.actions import actions
from shared.core.schema_compiler import compile_schema
from shared.core.schemas import FORMATS, SCHEMAS, validator
from tests.support.deliveries import example

ACTIONS = sorted(actions())
NAMES = sorted(file.relative_to(SCHEMAS).as_posix() for file in SCHEMAS.rglob("*.json"))
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 0.5, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, "", "x", "\n",
    "x\n", "x" * 255, "x" * 256, "sha256:ab", "sha256:ab\n", "a.azurecr.io", "a_b", "push", "ping",
    "2019-03-05T23:45:31Z", "2019-02-30T00:00:00Z", [], ["x"], {}, {"x": 1},
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "passing", "failing"),
    [
        ({"type": "string"}, ["", "x"], [1, None, [], {}]),
        ({"type": "string", "const": "a"}, ["a"], ["b", 1]),
        ({"type": "string", "format": "date-time"}, ["2019-03-05T23:45:31Z"], ["x", 1]),
        ({"type": "string", "maxLength": 2, "pattern": "a"}, ["xa"], ["xxa", "xx", 1]),
        ({"type": "string", "maxLength": 2, "pattern": "^a", "const": "ab"}, ["ab"],
         ["abc", "ba", "aa", 1]),
        ({"type": "integer"}, [0, -1], [True, 1.0, "1"]),
        ({"type": "integer", "minimum": 0}, [0], [-1, True]),
        ({"type": "integer", "minimum": 0, "maximum": 2}, [0, 2], [-1, 3, True, 1.0, "1"]),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
         [{"a": "x"}, {"a": "x", "b": 1}], [{}, {"a": 1}, {"b": "x"}, "a"]),
        ({"type": "string", "title": "t", "description": "d", "$schema": "s", "$id": "i"},
         ["x"], [1]),
    ],
)  # fmt: skip
def test_known_keywords_are_all_tested(
    schema: dict[str, Any], passing: list[Any], failing: list[Any]
) -> None:
    """With known keywords, fast accept passes every valid value and no other."""
    test = compile_schema(schema, FORMATS)
    assert [value for value in passing if test(value) is not True] == []
    assert [value for value in failing if test(value) is not False] == []


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"const": "x"},
        {"type": "array"},
        {"type": "string", "minLength": 1},
        {"type": "string", "maxLength": 2, "minLength": 1},
        {"type": "string", "format": "unheard-of"},
        {"type": "integer", "pattern": "x"},
    ],
)
def test_unknown_keywords_pass_nothing(schema: dict[str, Any]) -> None:
    """A schema with a keyword that fast accept does not know leaves every value to jsonschema."""
    test = compile_schema(schema, FORMATS)
    assert [value for value in VALUES if test(value) is not False] == []


def _places(document: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, value in document.items():
        found.append((name,))
        if isinstance(value, dict):
            found += [(name, *inner) for inner in _places(value)]
    return found


def _agrees(name: str, document: object) -> bool:
    """Whether jsonschema accepts `document` too, if fast accept passes it."""
    ready = validator(name)
    return not ready.fast_accept(document) or bool(ready.draft.is_valid(document))


@pytest.mark.parametrize("action", ACTIONS)
def test_fast_accept_passes_every_example(any_example: dict[str, Any], action: str) -> None:
    """Fast accept passes every example, and only with the schema of its action."""
    found = validator(f"deliveries/{action}.json").fast_accept(any_example)
    assert found is (any_example["action"] == action)


@pytest.mark.parametrize("name", NAMES)
@given(value=st.recursive(
    st.sampled_from(VALUES) | st.text() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
))  # fmt: skip
def test_fast_accept_implies_valid(name: str, value: object) -> None:
    """Every value that passes fast accept is valid to jsonschema."""
    assert _agrees(name, value)


@pytest.mark.parametrize("action", ACTIONS)
def test_fast_accept_agrees_after_any_change(action: str) -> None:
    """Fast accept passes no invalid delivery, whichever member changes or is missing."""
    name, sample = f"deliveries/{action}.json", example(action)
    for *outer, last in _places(sample):
        for value in (..., *VALUES):
            document = copy.deepcopy(sample)
            members = document
            for step in outer:
                members = members[step]
            if value is ...:
                del members[last]
            else:
                members[last] = value
            assert _agrees(name, document)
