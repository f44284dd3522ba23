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


@dataclass
class Report:
    """The entries of the delivery log of one webhook, counted by result.

    `error` says why the run did not complete, and what to do. None where it completed.
    """

    webhook: Webhook
    entries: Counter[str] = field(default_factory=Counter)
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to recover."""
        left = (NOT_STORED, FAILED, Verdict.MISSED.value)
        return not self.error and not any(self.entries[name] for name in left)
