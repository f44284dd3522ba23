"""The event that goes to the queues."""

from typing import Literal, NotRequired, TypedDict

from shared.core.delivery import Payload


class CloudEvent(TypedDict):
    """A CloudEvents 1.0 object, as `schemas/event.v1.json` describes it.

    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
    """

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"]
    data: Payload
    acrregistry: NotRequired[str]
    acrreference: NotRequired[str]
    acrregion: NotRequired[str]
    acrrecovered: NotRequired[str]
    traceparent: NotRequired[str]
