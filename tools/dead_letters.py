"""Dead letters as replay reads them from their queue."""

import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.core import dead_letter
from shared.core.delivery import Delivery
from shared.core.problems import Problem
from shared.core.schemas import validator
from shared.core.violations import violations

_SCHEMA = validator("rejected.v1.json")


@dataclass(frozen=True)
class KeptDelivery:
    """A rejected delivery, and the dead letter that keeps it."""

    record: dict[str, Any]
    delivery: Delivery

    def rejected_again(self, problem: Problem) -> dict[str, Any]:
        """The record with today's reasons; the body is left as it is."""
        return self.record | dead_letter.reasons(problem)


def read(content: str) -> KeptDelivery | None:
    """The record in a message as it lies on the queue; None where it is none."""
    try:
        record = json.loads(b64decode(content, validate=True))
        if violations(_SCHEMA, record):
            return None
        body = dead_letter.decode_body(record["body"])
        received_at = datetime.fromisoformat(record["receivedAt"])
    except (ValueError, RecursionError):
        return None
    return KeptDelivery(
        record, Delivery(body, record.get("registry"), record.get("traceparent"), received_at)
    )
