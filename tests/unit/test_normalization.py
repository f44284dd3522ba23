"""Events that the app makes from valid deliveries."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator

from shared.core.actions import Action, actions, event_actions
from shared.core.cloud_event import CloudEvent
from shared.core.delivery import Payload
from shared.core.normalization import to_cloud_event
from shared.core.registries import Registry
from shared.core.schemas import schema, validator
from shared.core.violations import violations
from tests.support.deliveries import every_example, payload, read_back

REGISTRY = Registry("myregistry.azurecr.io")
EVENT = validator("event.v1.json")


def _event(delivery: Payload, registry: Registry | None = REGISTRY) -> CloudEvent:
    event = to_cloud_event(delivery, actions()[delivery["action"]], registry)
    assert violations(EVENT, event) == []
    return event


def test_push_matches_event_grid_event() -> None:
    """A push becomes the event that Event Grid sends, with the registry in extension attributes."""
    delivery = payload("push")
    resource_id = (
        "/subscriptions/0/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/my"
    )
    assert _event(delivery, Registry("myregistry.azurecr.io", resource_id)) == {
        "specversion": "1.0",
        "id": "cb8c3971-9adc-488b-bdd8-43cbb4974ff5",
        "source": resource_id,
        "type": "Microsoft.ContainerRegistry.ImagePushed",
        "subject": "hello-world:v1",
        "time": "2017-11-17T16:52:01.3431453Z",
        "datacontenttype": "application/json",
        "data": delivery,
        "acrregistry": "myregistry.azurecr.io",
        "acrreference": "myregistry.azurecr.io/hello-world@sha256:"
        "80f0d5c8786bb9e621a45ece0db56d11cdc624ad20da9fe62e9d25490f331d7d",
    }


@pytest.mark.parametrize(
    ("action", "changes", "type_", "subject"),
    [
        ("push", {}, "ImagePushed", "hello-world:v1"),
        ("push", {"target__tag": ..., "target__digest": "sha256:ab"}, "ImagePushed",
         "hello-world@sha256:ab"),
        ("push", {"target__repository": "a/{tag}", "target__tag": "{x}"}, "ImagePushed",
         "a/{tag}:{x}"),
        ("delete", {}, "ImageDeleted", "hello-world"),
        ("delete", {"target__digest": ...}, "ImageDeleted", "hello-world"),
        ("quarantine", {}, "ImageQuarantined", "helloworld:1"),
        ("quarantine", {"target__tag": ...}, "ImageQuarantined", "helloworld@sha256:91ef6"),
        ("chart_push", {}, "ChartPushed", "wordpress:5.4.0.tgz"),
        ("chart_delete", {}, "ChartDeleted", "wordpress:5.4.0.tgz"),
    ],
)  # fmt: skip
def test_type_and_subject_match_event_grid(
    action: str, changes: dict[str, Any], type_: str, subject: str
) -> None:
    """An event has the type and the subject that Event Grid gives it."""
    event = _event(payload(action, **changes))
    assert event["type"] == f"Microsoft.ContainerRegistry.{type_}"
    assert event["subject"] == subject


@pytest.mark.parametrize("action", event_actions())
def test_data_is_whole_delivery(action: str) -> None:
    """An event's data is the whole delivery, with its unknown fields."""
    assert _event(payload(action, future=[1, None]))["data"] == payload(action, future=[1, None])


@pytest.mark.parametrize("action", event_actions())
def test_unknown_registry_has_placeholder_source(action: str) -> None:
    """An event of an unknown registry has a placeholder source and no registry attributes."""
    event = _event(payload(action), None)
    assert event["source"] == "https://unknown.invalid"
    assert "acrregistry" not in event
    assert "acrreference" not in event


def test_login_server_is_default_source() -> None:
    """Without a resource id, the event's source is the login server."""
    assert _event(payload("delete"))["source"] == "https://myregistry.azurecr.io"


def test_deletion_without_digest_lacks_reference() -> None:
    """A deletion without a digest has a registry attribute and no reference."""
    event = _event(payload("delete", target__digest=...))
    assert "acrreference" not in event
    assert event["acrregistry"] == "myregistry.azurecr.io"


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_event_keeps_request_trace() -> None:
    """An event carries the trace of its request."""
    event = to_cloud_event(payload("push"), actions()["push"], REGISTRY, TRACE)
    assert event["traceparent"] == TRACE
    assert violations(EVENT, event) == []


@pytest.mark.parametrize("trace", [None, "", "x", TRACE + "\n", TRACE.upper(), TRACE[:-1]])
def test_invalid_trace_is_omitted(trace: str | None) -> None:
    """An event omits a trace that is not a valid `traceparent`."""
    assert "traceparent" not in to_cloud_event(payload("push"), actions()["push"], REGISTRY, trace)


def test_released_schema_keeps_its_id() -> None:
    """A released event schema keeps its `$id` and rejects a document that is not an event."""
    released = sorted((Path(__file__).parent.parent / "released").glob("event.*.json"))
    assert released
    for file in released:
        document = json.loads(file.read_bytes())
        assert document["$id"] == schema("event.v1.json")["$id"]
        assert document["$id"].endswith("/event.v1.json")
        assert not Draft202012Validator(document).is_valid({"specversion": "1.0"})


@pytest.mark.parametrize("action", event_actions())
@pytest.mark.parametrize("registry", [REGISTRY, None])
def test_client_libraries_read_every_event(
    action: str,
    registry: Registry | None,
) -> None:
    """The Azure and the CloudEvents library read every event back."""
    read_back(to_cloud_event(payload(action), actions()[action], registry, TRACE))


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"id": ""},
        {"source": "contoso"},
        {"source": "https://a b"},
        {"source": "https://"},
        {"source": "/subscriptions/0/resourceGroups/g"},
        {"type": "push"},
        {"subject": "a\nb"},
        {"time": "2017-11-17T16:52:01.343145347Z"},
        {"time": "2017-11-17T16:52:01+01:00"},
        {"data": {}},
        {"acrregistry": "UPPER"},
        {"traceparent": "x"},
        {"Extension": "x"},
        {"extension": {}},
    ],
)
def test_event_schema_rejects_bad_attributes(change: dict[str, Any]) -> None:
    """The event schema rejects each attribute that the app must not emit."""
    assert violations(EVENT, _event(payload("push")) | change)


def test_every_example_becomes_valid_event(any_example: Payload) -> None:
    """Every example of an event action becomes a valid event with the same id."""
    if actions()[any_example["action"]].type:
        assert _event(any_example)["id"] == any_example["id"]


@pytest.mark.parametrize(
    ("digest", "real"),
    [
        (f"sha256:{'0a' * 32}", True),
        (f"sha512:{'0a' * 64}", True),
        (f"sha256:{'0a' * 31}", False),
        (f"sha256:{'0a' * 33}", False),
        (f"sha512:{'0a' * 32}", False),
        (f"sha256:{'0A' * 32}", False),
        (f"sha256:{'0a' * 32}\n", False),
        (f"sha256:xxxx{'0a' * 28}xxxx", False),
        ("md5:0a", False),
    ],
)
def test_only_real_digest_gives_reference(digest: str, real: bool) -> None:
    """An event has a reference only if an artifact can have the digest."""
    event = _event(payload("push", target__digest=digest))
    reference = f"myregistry.azurecr.io/hello-world@{digest}"
    assert event.get("acrreference") == (reference if real else None)
    assert event["data"]["target"]["digest"] == digest


@pytest.mark.parametrize("name", ["push/masked", "delete/masked", "quarantine/documented"])
def test_masked_sample_has_no_reference(name: str) -> None:
    """A published sample whose digest is masked or shortened is a valid event without one."""
    sample = every_example()[name]
    event = _event(cast("Payload", sample))
    assert "acrreference" not in event
    read_back(event)


def test_recovered_event_has_recovery_time() -> None:
    """A recovered event holds the time of its recovery in UTC; another event holds none."""
    at = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
    event = to_cloud_event(payload("push"), actions()["push"], REGISTRY, recovered_at=at)
    assert event["acrrecovered"] == "2026-11-21T12:00:05Z"
    assert violations(EVENT, event) == []
    assert "acrrecovered" not in _event(payload("push"))


def test_subject_without_fields_is_an_error() -> None:
    """An action whose schema requires too few fields for a subject raises an error."""
    action = Action("push", "t", ("{nothing}",))
    message = "^the schema of push requires the fields of no subject$"
    with pytest.raises(AssertionError, match=message):
        to_cloud_event(payload("push"), action, REGISTRY)


def test_known_region_is_an_attribute() -> None:
    """An event of a known region names it in an attribute; its data is as the registry sent it."""
    delivery = payload("push", request__host="myregistry.eastus.geo.azurecr.io")
    event = to_cloud_event(delivery, actions()["push"], REGISTRY, region="westeurope")
    read_back(event)
    assert event["acrregion"] == "westeurope"
    assert event["source"] == "https://myregistry.azurecr.io"
    assert event["data"] == delivery
    assert "acrregion" not in _event(delivery)


@pytest.mark.parametrize("region", ["", "East", "west-europe", "a" * 65, "eastus\n"])
def test_schema_rejects_invalid_region(region: str) -> None:
    """The event schema allows 1 to 64 lower-case letters and digits as a region."""
    event = to_cloud_event(payload("push"), actions()["push"], REGISTRY, region="eastus")
    [violation] = violations(EVENT, event | {"acrregion": region})
    assert violation.pointer == "/acrregion"
