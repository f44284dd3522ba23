"""Redelivery: sends deliveries of ACR's delivery log again, whatever their response was."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from shared.core.problems import Problem
from shared.core.webhooks import Webhook
from shared.reconcile.delivery_log import Verdict, to_delivery
from shared.reconcile.lease import Lease, LeaseHeldError
from shared.reconcile.ledger import entry_key
from shared.reconcile.page import DeliveryLogUnavailable
from shared.reconcile.table import LedgerUnavailable
from tools.recovery.sources import Listed, Period, Sources

SENT = "redelivered"
WOULD_SEND = "would be redelivered"
NOT_STORED = "not stored"
REFUSED = "refused now"
OTHER_QUEUE = "not for this queue"
NO_QUEUE = "no route matches"

_EVENTS_AT_A_TIME = 8


@dataclass(frozen=True)
class Redelivered:
    """The result for one delivery."""

    webhook: str
    id: str
    result: str
    queues: tuple[str, ...] = ()
    detail: str | None = None


@dataclass(frozen=True)
class Choice:
    """Which deliveries are sent again, and to which of their queues alone (None: all of them)."""

    ids: frozenset[str] = frozenset()
    period: Period = field(default_factory=Period)
    queue: str | None = None

    def has(self, listed: Listed) -> bool:
        """Whether this delivery is chosen."""
        if listed.is_ping or (self.ids and listed.entry.id not in self.ids):
            return False
        return self.period.has(listed.at)


@dataclass
class Redelivery:
    """One run over the delivery logs of the webhooks.

    A delivery is entered in the ledger after its event is stored, under the lease of its webhook,
    so that no run of reconcile sends it again.
    """

    sources: Sources
    choice: Choice
    dry_run: bool
    seen: Callable[[Redelivered], None]
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    found: set[str] = field(default_factory=set)

    @property
    def is_complete(self) -> bool:
        """Whether every chosen delivery was sent."""
        failed = self.counts[NOT_STORED] + self.counts[REFUSED]
        return not (failed or self.errors or self.missing)

    @property
    def missing(self) -> list[str]:
        """The chosen ids that no delivery log lists."""
        return sorted(self.choice.ids - self.found)

    async def run(self) -> None:
        """Goes through the delivery logs. `counts` and `errors` have the results so far."""
        for webhook in self.sources.settings.webhooks:
            lease = self.sources.ledger.lease(webhook)
            try:
                await self._webhook(webhook, lease)
            except (DeliveryLogUnavailable, LedgerUnavailable) as error:
                self.errors.append(f"{webhook.label}: {error}")
            except LeaseHeldError:
                self.errors.append(f"{webhook.label}: Another run holds this webhook's lease.")
            finally:
                await lease.release()

    async def _webhook(self, webhook: Webhook, lease: Lease) -> None:
        done: set[str] = set()
        async for page in self.sources.listed(webhook):
            # Of entries with one id, the first counts.
            chosen = {entry_key(each.entry): each for each in reversed(page)}
            new = [e for k, e in chosen.items() if k not in done and self.choice.has(e)]
            done |= chosen.keys()
            for start in range(0, len(new), _EVENTS_AT_A_TIME):
                if not self.dry_run:
                    await lease.acquire_or_renew()
                chunk = new[start : start + _EVENTS_AT_A_TIME]
                results = await asyncio.gather(
                    *(self._one(webhook, each) for each in chunk), return_exceptions=True
                )
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
                    self.counts[result.result] += 1
                    self.seen(result)

    async def _one(self, webhook: Webhook, listed: Listed) -> Redelivered:
        entry, now = listed.entry, datetime.now(UTC)
        self.found.add(entry.id)
        result = Redelivered(webhook.label, entry.id, SENT)
        pipeline = self.sources.pipeline
        delivery = to_delivery(entry, self.sources.login_server(webhook), now)
        try:
            routed = pipeline.route(pipeline.parse(delivery), delivery)
        except Problem as problem:
            reason = f"{problem.kind.reason}: {problem.detail}"
            return replace(result, result=REFUSED, detail=reason)
        queues = [q for q in routed.queues if self.choice.queue in (None, q)]
        if not queues:
            return replace(result, result=OTHER_QUEUE if routed.queues else NO_QUEUE)
        result = replace(result, queues=tuple(queues))
        if self.dry_run:
            return replace(result, result=WOULD_SEND)
        if failures := await pipeline.enqueue(replace(routed, queues=queues)):
            detail = "; ".join(map(str, failures))
            return replace(result, result=NOT_STORED, detail=detail)
        # A missed delivery that lacks its other queues is left to reconcile, which sends to all.
        if len(queues) == len(routed.queues) or entry.verdict is Verdict.DELIVERED:
            await self.sources.ledger.add(
                webhook,
                entry_key(entry),
                now,
                outcome=SENT,
                queues=queues,
                region=entry.region,
            )
        return result
