"""A delivery as the function receives it, and its payload once it is valid."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict

# A parsed JSON object that no schema has been checked against yet.
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request of a registry's webhook.

    Args:
        body: The request's body, unchanged.
        registry: The `registry` parameter of the webhook's URL.
        traceparent: The header of that name (W3C Trace Context).
        received_at: When the request arrived, in UTC.
        invocation_id: The platform's name for this request.
        recovered_at: When the app recovered the delivery from the registry's delivery log, in
            UTC. None where the registry itself sent it.
        region: The `region` parameter of the webhook's URL.

    """

    body: bytes
    registry: str | None
    traceparent: str | None
    received_at: datetime
    invocation_id: str | None = None
    recovered_at: datetime | None = None
    region: str | None = None


class Target(TypedDict, total=False):
    """What was pushed, deleted or quarantined. Sizes are in bytes."""

    mediaType: str
    size: int
    digest: str
    length: int
    repository: str
    tag: str
    url: str
    name: str
    version: str


class Request(TypedDict, total=False):
    """The request to the registry that caused the event. Deliveries about charts have none."""

    id: str
    addr: str
    host: str
    method: str
    useragent: str


class Payload(TypedDict):
    """The JSON object of a valid delivery, without its null and empty fields.

    A ping has no target (seen). A payload can have further fields: the registry may add some at any
    time.
    https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
    """

    id: str
    timestamp: str
    action: str
    target: NotRequired[Target]
    request: NotRequired[Request]
