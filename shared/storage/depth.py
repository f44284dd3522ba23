"""How many messages are on a queue."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """The approximate number of messages on a queue, and when the oldest was inserted.

    The number includes messages that a reader has in hand. The time does not consider them.
    https://learn.microsoft.com/rest/api/storageservices/get-queue-metadata
    """

    messages: int
    oldest: datetime | None
