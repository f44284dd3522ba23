"""Audit: what became of each delivery in ACR's delivery log."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.core.problems import Problem
from shared.core.webhooks import Webhook
from shared.reconcile.delivery_log import Verdict, to_delivery
from shared.reconcile.ledger import Row, entry_key
from shared.reconcile.page import DeliveryLogUnavailable
from shared.reconcile.table import LedgerUnavailable
from tools.recovery.fallback_log import Lost
from tools.recovery.queued import Queued
from tools.recovery.resend import REJECTED
from tools.recovery.sources import Listed, Period, Sources

CONFIRMED = "confirmed"
DEAD_LETTERED = "dead-lettered"
RECOVERED = "recovered"
IN_FALLBACK_LOG = "in the fallback log"
MISSED = "missed"
UNKNOWN = "unknown"
# With the queues' content alone.
MISSING = "missing"
QUEUED = "queued"

_WORDS = (
    CONFIRMED,
    DEAD_LETTERED,
    RECOVERED,
    QUEUED,
    IN_FALLBACK_LOG,
    MISSED,
    MISSING,
    UNKNOWN,
)


@dataclass(frozen=True)
class Audited:
    """What became of one delivery."""

    webhook: str
    id: str
    time: str | None
    result: str


@dataclass
class Audit:
    """One pass over the delivery logs of the webhooks. It changes nothing.

    Args:
        sources: What it reads.
        period: The deliveries that it considers, by time.
        lost: The deliveries of the fallback log, as far as they were given.
        queued: What is on the queues, where consumers are stopped. Else None.
        seen: Gets the result for each delivery.

    """

    sources: Sources
    period: Period
    lost: Sequence[Lost]
    queued: Queued | None
    seen: Callable[[Audited], None]
    counts: Counter[str] = field(default_factory=Counter)
    pings: int = 0
    outside: int = 0
    errors: list[str] = field(default_factory=list)
    _rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    @property
    def is_complete(self) -> bool:
        """Whether every delivery is accounted for."""
        open_ = self.counts[MISSED] + self.counts[UNKNOWN] + self.counts[MISSING]
        return not (open_ or self.errors)

    def results(self) -> list[tuple[str, int]]:
        """The number of deliveries for each result. They add up to the total."""
        return [(word, self.counts[word]) for word in _WORDS if self.counts[word]]

    async def run(self) -> None:
        """Goes through the delivery logs."""
        in_log = {(each.id, each.delivery.region) for each in self.lost}
        try:
            for row in await self.sources.ledger.rows():
                self._rows[row.key].append(row)
        except LedgerUnavailable as error:
            self.errors.append(str(error))
            return
        for webhook in self.sources.settings.webhooks:
            try:
                async for page in self.sources.listed(webhook):
                    for listed in page:
                        self._count(webhook, listed, in_log)
            except DeliveryLogUnavailable as error:
                self.errors.append(f"{webhook.label}: {error}")

    def _count(
        self, webhook: Webhook, listed: Listed, in_log: set[tuple[str | None, str | None]]
    ) -> None:
        if listed.is_ping:
            self.pings += 1
            return
        if not self.period.has(listed.at):
            self.outside += 1
            return
        result = self._by_log(listed, in_log)
        if self.queued is not None:
            result = self._by_queues(webhook, listed, result, self.queued)
        self.counts[result] += 1
        time = listed.at.isoformat() if listed.at else None
        self.seen(Audited(webhook.label, listed.entry.id, time, result))

    def _by_log(self, listed: Listed, in_log: set[tuple[str | None, str | None]]) -> str:
        entry = listed.entry
        if entry.verdict is Verdict.DELIVERED:
            return CONFIRMED
        if entry.verdict is Verdict.REFUSED:
            return DEAD_LETTERED
        for row in self._rows[entry_key(entry)]:
            # A row of version 0.9.0 has neither outcome nor region.
            if row.outcome is None or row.region == entry.region:
                rejected = row.outcome in ("rejected", REJECTED)
                return DEAD_LETTERED if rejected else RECOVERED
        if (entry.id, entry.region) in in_log:
            return IN_FALLBACK_LOG
        return MISSED if entry.verdict is Verdict.MISSED else UNKNOWN

    def _by_queues(self, webhook: Webhook, listed: Listed, result: str, queued: Queued) -> str:
        """The result, where every queue of the event must have it or the dead-letter queue."""
        entry, pipeline = listed.entry, self.sources.pipeline
        delivery = to_delivery(entry, self.sources.login_server(webhook), datetime.now(UTC))
        if entry.id in queued.dead_letters:
            return DEAD_LETTERED
        try:
            routed = pipeline.route(pipeline.parse(delivery), delivery)
        except Problem:
            # The app rejects it today, so nothing tells on which queues it should be.
            return MISSING if result == DEAD_LETTERED else UNKNOWN
        key = (entry.id, routed.event.get("acrregion") if routed.event else None)
        if all(key in queued.events.get(queue, set()) for queue in routed.queues):
            return result if result in (CONFIRMED, RECOVERED) else QUEUED
        return MISSING if result in (CONFIRMED, RECOVERED, DEAD_LETTERED) else result
