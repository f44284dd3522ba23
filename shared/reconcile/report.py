"""What a run found in the delivery log of a webhook, and what it did."""

from collections import Counter
from dataclasses import dataclass, field

from shared.core.webhooks import Webhook
from shared.reconcile.delivery_log import Verdict

# What becomes of an entry, beside the verdicts of the delivery log.
RECOVERED = "recovered"
REJECTED_NOW = "rejected now"
KNOWN = "already recovered"
LISTED_TWICE = "listed twice"
NOT_STORED = "not stored"
FAILED = "failed"

# Of the missed ones, in the log. They are counted above too.
TIMED_OUT = "timed out"


@dataclass
class Report:
    """The entries of the delivery log of one webhook, counted by result.

    `timed_out` counts those of the new missed deliveries that got no response in time. `error`
    says why the run did not complete, and what to do. None where it completed.
    """

    webhook: Webhook
    entries: Counter[str] = field(default_factory=Counter)
    timed_out: int = 0
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to recover."""
        left = (NOT_STORED, FAILED, Verdict.MISSED.value)
        return not self.error and not any(self.entries[name] for name in left)
