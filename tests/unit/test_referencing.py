"""Resolved schemas mean what the originals mean with the `referencing` library."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from shared.core import registries
from shared.core.actions import actions
from shared.core.dead_letter import encode
from shared.core.delivery import Delivery
from shared.core.normalization import to_cloud_event
from shared.core.problems import Kind, Problem, Violation
from shared.core.schemas import FORMATS, SCHEMAS, schema
from tests.support.deliveries import TRACE, every_example, payload
from tests.support.routes import SHIPPED_ROUTES

DOCUMENTS = {
    file.relative_to(SCHEMAS).as_posix(): json.loads(file.read_bytes())
    for file in sorted(SCHEMAS.rglob("*.json"))
}
ORIGINALS: Registry[Any] = [
    Resource.from_contents(each) for each in DOCUMENTS.values()
] @ Registry()

_TIME = datetime(2026, 3, 2, 9, 20, 31, tzinfo=UTC)
_REGISTRY = registries.Registry(
    "contoso.azurecr.io",
    "/subscriptions/0/resourceGroups/images/providers/Microsoft.ContainerRegistry/registries/contoso",
)
# One of each type, and texts that violate a pattern or a limit of length.
_WRONG: tuple[Any, ...] = (None, True, 0.5, 2**63, [], {"x": 1}, "", "a\n", "-" * 256)


def _whole() -> Iterator[Any]:
    """The examples, events without and with all optional attributes, a dead letter, the routes."""
    yield from every_example().values()
    yield to_cloud_event(payload("push"), actions()["push"], None)
    yield to_cloud_event(payload("push"), actions()["push"], _REGISTRY, TRACE, _TIME)
    problem = Problem(Kind.INVALID_DELIVERY, "One.", [Violation("/id", "is bad")])
    yield json.loads(encode(problem, Delivery(b"{}", "contoso", TRACE, _TIME), 1024))
    yield json.loads(SHIPPED_ROUTES.read_bytes())


def _parts(document: Any) -> Iterator[Any]:
    """`document` and every value inside it."""
    yield document
    inner = document.values() if isinstance(document, dict) else document
    for value in inner if isinstance(document, dict | list) else ():
        yield from _parts(value)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every object and array inside `document`, with each of its keys and indexes."""
    for part in _parts(document):
        if isinstance(part, dict | list):
            yield from (
                (part, key) for key in (part if isinstance(part, dict) else range(len(part)))
            )


def _broken(document: Any) -> Iterator[Any]:
    """`document` with each of its values in turn left out or replaced by a wrong one."""
    yield from _WRONG
    for number, _ in enumerate(_places(document)):
        for change in (..., *_WRONG):
            changed = copy.deepcopy(document)
            part, key = list(_places(changed))[number]
            if change is ...:
                del part[key]
            else:
                part[key] = change
            yield changed


# Each value once.
VALUES = list({json.dumps(part): part for each in _whole() for part in _parts(each)}.values())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_resolved_schema_keeps_its_meaning(name: str) -> None:
    """A schema finds the same errors at the same places whether we or `referencing` resolve it."""
    resolved = Draft202012Validator(schema(name), format_checker=FORMATS)
    original = Draft202012Validator(DOCUMENTS[name], registry=ORIGINALS, format_checker=FORMATS)
    verdicts = set()

    def compare(value: Any) -> bool:
        expected, found = (
            {tuple(error.absolute_path) for error in each.iter_errors(value)}
            for each in (original, resolved)
        )
        assert found == expected, value
        verdicts.add(not expected)
        return not expected

    for value in VALUES:
        if compare(value):
            for broken in _broken(value):
                compare(broken)
    assert verdicts == {True, False}
