"""The schemas, and the examples that they describe."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.core.actions import actions
from shared.core.normalization import to_cloud_event
from shared.core.problems import Problem
from shared.core.schemas import SCHEMAS, schema, validator
from shared.core.validation import PayloadValidator
from shared.core.violations import violations
from tests.support.deliveries import example, payload

FILES = sorted(SCHEMAS.rglob("*.json"))
EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = [file.relative_to(SCHEMAS).as_posix() for file in FILES]


@pytest.mark.parametrize("name", NAMES)
def test_schemas_match_the_meta_schema(name: str) -> None:
    """Every schema is valid against the meta-schema."""
    document = json.loads((SCHEMAS / name).read_bytes())
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(document)
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", NAMES)
def test_schema_id_holds_its_path(name: str) -> None:
    """The `$id` of every schema holds the path of its file."""
    document = json.loads((SCHEMAS / name).read_bytes())
    assert document["$id"] == f"https://acr-webhook.example/schemas/{name}"


def test_every_action_has_schema_and_examples() -> None:
    """Each action has one schema and one folder of examples, and there are no others."""
    schemas = {file.stem for file in (SCHEMAS / "deliveries").iterdir()}
    examples = {folder.name for folder in EXAMPLES.iterdir()}
    assert set(actions()) == schemas == examples


def test_every_example_is_valid(any_example: dict[str, Any]) -> None:
    """Every example delivery is valid, and validation leaves it unchanged."""
    assert PayloadValidator(actions()).validate(any_example) == any_example


def test_example_fits_only_its_action(any_example: dict[str, Any]) -> None:
    """An example of one action is not valid as another action."""
    own = any_example["action"]
    for other in set(actions()) - {own}:
        found = violations(validator(f"deliveries/{other}.json"), any_example)
        assert "/action" in {violation.pointer for violation in found}


def _leaves(schema: dict[str, Any], place: str = "") -> dict[str, dict[str, Any]]:
    """Every field below `schema`, by its JSON Pointer, with what says its type."""
    found: dict[str, dict[str, Any]] = {}
    for part in (*schema.get("allOf", ()), schema):
        for name, value in part.get("properties", {}).items():
            inner = _leaves(value, f"{place}/{name}")
            found |= inner or {f"{place}/{name}": value}
    return found


def test_every_known_field_is_typed() -> None:
    """Every known field has a type that validation checks."""
    check = PayloadValidator(actions())
    fields = _leaves(schema("common/delivery.json"))
    assert len(fields) >= 19
    for pointer in fields:
        if pointer == "/action":
            continue
        *outer, name = pointer.strip("/").split("/")
        for wrong in (True, ["x"], {"x": 1}, 0.5):
            delivery = example("push")
            members = delivery
            for step in outer:
                members = members.setdefault(step, {})
            members[name] = wrong
            with pytest.raises(Problem) as caught:
                check.validate(delivery)
            assert [violation.pointer for violation in caught.value.violations] == [pointer]


@pytest.mark.parametrize("action", [name for name, action in actions().items() if action.type])
def test_required_fields_suffice_for_subject(action: str) -> None:
    """The fields that an action requires are enough for the event's subject."""
    document = schema(f"deliveries/{action}.json")
    required = document["properties"]["target"]["required"]
    target = {name: example(action)["target"][name] for name in required}
    event = to_cloud_event(payload(action, target=target), actions()[action], None)
    assert event["subject"]


@pytest.mark.parametrize(
    ("action", "required"),
    [
        ("push", "target target__repository target__digest request request__host"),
        ("delete", "target target__repository request request__host"),
        ("quarantine", "target target__repository target__digest request request__host"),
        (
            "chart_push",
            "target target__repository target__digest target__name target__version",
        ),
        (
            "chart_delete",
            "target target__repository target__digest target__name target__version",
        ),
        ("ping", ""),
    ],
)
def test_action_requires_exactly_these_fields(action: str, required: str) -> None:
    """Each action requires the listed fields and no others; absent, null and empty are the same."""

    def members(part: dict[str, Any], prefix: str = "") -> list[str]:
        names = []
        for name, value in part.items():
            names.append(prefix + name)
            if isinstance(value, dict):
                names += members(value, f"{prefix}{name}__")
        return names

    check = PayloadValidator(actions())
    needed = {"id", "timestamp", "action", *required.split()}
    for member in members(example(action)):
        # Absent, null and empty are the same.
        absent: tuple[Any, ...] = (..., None, "", {}, [])
        for value in absent:
            delivery = example(action, **{member: value})
            if member in needed:
                with pytest.raises(Problem) as caught:
                    check.validate(delivery)
                pointers = [violation.pointer for violation in caught.value.violations]
                assert pointers == ["/" + member.replace("__", "/")]
                assert caught.value.kind.status == 422
            else:
                assert check.validate(delivery) == example(action, **{member: ...})
