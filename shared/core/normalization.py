"""A valid delivery to a CloudEvent."""

import re
from datetime import datetime
from typing import Any

from shared.core.actions import Action
from shared.core.registries import Registry
from shared.core.timestamps import moment, to_utc

# Source of an event whose registry nothing tells. The top-level domain is reserved (RFC 2606):
# no registry will ever answer there.
UNKNOWN_SOURCE = "https://unknown.invalid"

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def to_event(
    delivery: dict[str, Any],
    action: Action,
    registry: Registry | None,
    traceparent: str | None = None,
    recovered_at: datetime | None = None,
) -> dict[str, Any]:
    """The CloudEvents 1.0 object for `delivery`, valid against `schemas/event.v1.json`.

    The attributes are those that Event Grid gives the same occurrence; `data` is the delivery
    itself. A `traceparent` that is not of the W3C's form is left out. `recovered_at`, in UTC, is
    set where the registry's record told of the delivery, and not the registry.
    """
    target = delivery["target"]
    event = {
        "specversion": "1.0",
        "id": delivery["id"],
        "source": _source(registry),
        "type": action.type,
        "subject": _subject(action, target),
        "time": to_utc(delivery["timestamp"]),
        "datacontenttype": "application/json",
        "data": delivery,
    }
    if registry:
        event["acrregistry"] = registry.login_server
        if "digest" in target:
            reference = f"{registry.login_server}/{target['repository']}@{target['digest']}"
            event["acrreference"] = reference
    if traceparent and _TRACEPARENT.fullmatch(traceparent):
        event["traceparent"] = traceparent
    if recovered_at:
        event["acrrecovered"] = moment(recovered_at)
    return event


def _source(registry: Registry | None) -> str:
    if registry is None:
        return UNKNOWN_SOURCE
    return registry.resource_id or f"https://{registry.login_server}"


def _subject(action: Action, target: dict[str, Any]) -> str:
    for template in action.subject:
        try:
            return template.format_map(target)
        except KeyError:
            continue
    raise AssertionError(f"the schema of {action.name} requires the fields of no subject template")
