"""Problems: why a delivery is not accepted, in the terms of RFC 9457."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a document.

    `pointer` is a JSON Pointer (RFC 6901); the empty one names the document as a whole.
    """

    pointer: str
    detail: str


class Kind(Enum):
    """Kinds of problems: `reason`, HTTP `status`, `title`.

    Reasons are stored in dead letters and in the delivery log, so they never change.
    """

    NOT_JSON = ("not-json", 400, "The body is not a JSON object")
    REGISTRY_NOT_ALLOWED = ("registry-not-allowed", 403, "The registry is not on the allow-list")
    BODY_TOO_LARGE = ("body-too-large", 413, "The body is too large")
    EVENT_TOO_LARGE = ("event-too-large", 413, "The event does not fit a queue message")
    UNKNOWN_ACTION = ("unknown-action", 422, "The action is not known")
    INVALID_DELIVERY = ("invalid-delivery", 422, "The delivery violates the schema of its action")
    UNROUTED = ("unrouted", 422, "No route matches the event")
    INVALID_REGISTRY = ("invalid-registry", 422, "The registry parameter is invalid")
    INVALID_REGION = ("invalid-region", 422, "The region parameter is invalid")
    INVALID_LOG_ENTRY = ("invalid-record", 422, "The delivery log's entry holds no delivery")
    INTERNAL_ERROR = ("fault", 500, "The app had an internal error")
    STORAGE_UNAVAILABLE = (
        "storage-unavailable",
        503,
        "The delivery is stored in the log, not on its queues",
    )

    def __init__(self, reason: str, status: int, title: str) -> None:
        self.reason = reason
        self.status = status
        self.title = title


class Problem(Exception):
    """A delivery that is not accepted.

    `kind` has the HTTP status. The operator of the webhook reads `detail` and the violations in the
    registry's delivery log: they say what is wrong, where, and what to do.
    """

    def __init__(self, kind: Kind, detail: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.violations = tuple(violations) or (Violation("", detail),)
