"""Dead letters as replay reads them from their queue."""

import hashlib
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.core import dead_letter
from shared.core.delivery import Delivery
from shared.core.parsing import decode
from shared.core.problems import Problem
from shared.core.schemas import validator
from shared.core.violations import violations

_SCHEMA = validator("rejected.v1.json")


@dataclass(frozen=True)
class KeptDelivery:
    """A refused delivery, and its dead letter as JSON."""

    document: dict[str, Any]
    delivery: Delivery

    @property
    def is_damaged(self) -> bool:
        """Whether the body is not the one whose length and SHA-256 the dead letter has."""
        kept, body = self.delivery.body, self.document["body"]
        found = len(kept), hashlib.sha256(kept).hexdigest()
        return not body["truncated"] and found != (body["length"], body["sha256"])

    def rejected_again(self, problem: Problem) -> dict[str, Any]:
        """The dead letter with today's reasons. The body stays as it is."""
        return self.document | dead_letter.reasons(problem)


def read(content: str) -> KeptDelivery | None:
    """The dead letter in the `content` of a message. None where it is something else."""
    try:
        document = decode(b64decode(content, validate=True))
        if violations(_SCHEMA, document):
            return None
        body = dead_letter.decode_body(document["body"])
        received_at = datetime.fromisoformat(document["receivedAt"])
    except ValueError:
        return None
    delivery = Delivery(
        body,
        document.get("registry"),
        document.get("traceparent"),
        received_at,
        region=document.get("region"),
    )
    return KeptDelivery(document, delivery)
