"""A payload to a CloudEvent."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.core.actions import Action
from shared.core.cloud_event import CloudEvent
from shared.core.delivery import Payload
from shared.core.registries import Registry
from shared.core.timestamps import to_utc, utc_timestamp

# The source of an event whose registry is not known. The top-level domain is reserved (RFC 2606):
# no registry can have this name.
UNKNOWN_SOURCE = "https://unknown.invalid"

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# The digests of an artifact. Published samples mask or shorten theirs: nothing has such a digest.
# https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#registered-algorithms
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def is_traceparent(text: str) -> bool:
    """Whether `text` has the form of W3C's header `traceparent`."""
    return _TRACEPARENT.fullmatch(text) is not None


def to_cloud_event(
    payload: Payload,
    action: Action,
    registry: Registry | None,
    traceparent: str | None = None,
    recovered_at: datetime | None = None,
    region: str | None = None,
) -> CloudEvent:
    """The CloudEvent of `payload`, valid against `schemas/event.v1.json`.

    Its attributes are those that Event Grid gives the same occurrence. Its `data` is the payload.
    https://learn.microsoft.com/azure/event-grid/event-schema-container-registry

    Args:
        payload: A payload whose action raises an event.
        action: The row of the action table for that action.
        registry: Where the delivery comes from, if that is known.
        traceparent: The request's header. It is left out where it has another form than W3C's.
        recovered_at: When the delivery was recovered from the delivery log, in UTC.
        region: The region in which the event was raised, in lower case, if that is known.

    """
    if action.type is None:
        raise ValueError(f"{action.name} raises no event")
    target = payload["target"]
    subject = subject_of(action, target)
    if subject is None:
        raise AssertionError(f"the schema of {action.name} requires the fields of no subject")
    event: CloudEvent = {
        "specversion": "1.0",
        "id": payload["id"],
        "source": _source(registry),
        "type": action.type,
        "subject": subject,
        "time": to_utc(payload["timestamp"]),
        "datacontenttype": "application/json",
        "data": payload,
    }
    if registry:
        event["acrregistry"] = registry.login_server
        if _DIGEST.fullmatch(target.get("digest", "")):
            reference = f"{registry.login_server}/{target['repository']}@{target['digest']}"
            event["acrreference"] = reference
    if region:
        event["acrregion"] = region
    if traceparent and is_traceparent(traceparent):
        event["traceparent"] = traceparent
    if recovered_at:
        event["acrrecovered"] = utc_timestamp(recovered_at)
    return event


def _source(registry: Registry | None) -> str:
    if registry is None:
        return UNKNOWN_SOURCE
    return registry.resource_id or f"https://{registry.login_server}"


def subject_of(action: Action, target: Mapping[str, Any]) -> str | None:
    """The subject of an event of `action` about `target`. None where it lacks the fields for it."""
    for template in action.subject:
        try:
            return template.format_map(target)
        except KeyError:
            continue
    return None
