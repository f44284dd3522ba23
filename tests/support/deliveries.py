"""Example deliveries, and events as their consumers read them."""

import asyncio
import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from azure.core.messaging import CloudEvent
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from shared.app import App
from shared.core.delivery import Delivery, Payload
from shared.core.schemas import FORMATS, validator
from shared.core.violations import violations
from tools import examples

TESTS = Path(__file__).parent.parent
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# The event schema of each release, with references resolved.
RELEASED = [
    Draft202012Validator(json.loads(file.read_bytes()), format_checker=FORMATS)
    for file in sorted((TESTS / "released").glob("event.*.json"))
]


def every_example() -> dict[str, dict[str, Any]]:
    """Every example delivery, by `<action>/<name>`."""
    return {
        f"{file.parent.name}/{file.stem}": json.loads(file.read_bytes())
        for file in sorted((TESTS / "examples").glob("*/*.json"))
    }


_EXAMPLES = every_example()


def example(action: str, /, **changes: object) -> dict[str, Any]:
    """The documented delivery of `action`, with members replaced: `target__tag="v2"`.

    A member whose new value is `...` is left out.
    """
    delivery = copy.deepcopy(_EXAMPLES[f"{action}/documented"])
    for path, value in changes.items():
        *outer, name = path.split("__")
        members = delivery
        for step in outer:
            members = members[step]
        if value is ...:
            members.pop(name)
        else:
            members[name] = value
    return delivery


def payload(action: str, /, **changes: object) -> Payload:
    """The same as `example`, as a valid payload."""
    return cast("Payload", example(action, **changes))


def recent(action: str = "push", age: timedelta = timedelta(hours=1)) -> dict[str, Any]:
    """A delivery from `age` ago, with a new id."""
    timestamp = (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")
    return {**examples.with_new_id(examples.documented(action)), "timestamp": timestamp}


def delivery(body: bytes | dict[str, Any], registry: str | None = None) -> Delivery:
    """The delivery that the function receives now, with `body`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(raw, registry, None, datetime.now(UTC))


async def reject(connection: str, *bodies: bytes | dict[str, Any], **settings: str) -> None:
    """Makes the app reject `bodies`, with `settings` or an allow-list of another registry."""
    settings = settings or {"ACR_REGISTRIES": "other.azurecr.io"}
    receiver = App.from_environment(
        {"AcrEventsStorage": connection, "ACR_BUDGET_SECONDS": "30", **settings},
        registry_waits=False,
    )
    process = receiver.pipeline.process
    responses = await asyncio.gather(*(process(delivery(body)) for body in bodies))
    assert all(400 <= response.status < 500 for response in responses)
    await receiver.queues.close()


def read_back(event: Mapping[str, Any]) -> None:
    """Reads an event as its consumers do. Fails if one of them would fail."""
    assert violations(validator("event.v1.json"), event) == []
    for released in RELEASED:
        released.validate(event)
    by_azure: CloudEvent[Any] = CloudEvent.from_json(json.dumps(event))
    by_cloudevents = JSONFormat().read(None, json.dumps(event))
    time = datetime.fromisoformat(event["time"])
    assert by_azure.id == by_cloudevents.get_id() == event["id"]
    assert by_azure.type == by_cloudevents.get_type() == event["type"]
    assert by_azure.source == by_cloudevents.get_source() == event["source"]
    assert by_azure.subject == by_cloudevents.get_subject() == event["subject"]
    assert by_azure.time == by_cloudevents.get_time() == time
    assert time.tzinfo == UTC
    assert by_azure.data == by_cloudevents.get_data() == event["data"]
    extensions = by_azure.extensions or {}
    for name in ("acrregistry", "acrreference", "traceparent"):
        assert extensions.get(name) == event.get(name)
        assert by_cloudevents.get_extension(name) == event.get(name)
