"""Resending: puts the deliveries of the fallback log on the queues that lack them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from shared.core.problems import Problem
from shared.core.webhooks import Webhook
from shared.reconcile.lease import Lease, LeaseHeldError
from shared.reconcile.ledger import Row, row_key
from shared.reconcile.table import LedgerUnavailable
from tools.message_facts import login_server
from tools.recovery import redeliver
from tools.recovery.fallback_log import Lost
from tools.recovery.sources import Sources

SENT = "resent"
WOULD_SEND = "would be resent"
KNOWN = "already recovered"
REJECTED = "rejected now"
NOT_STORED = "not stored"


@dataclass(frozen=True)
class Resent:
    """The result for one delivery."""

    id: str | None
    result: str
    queues: tuple[str, ...] = ()
    detail: str | None = None


@dataclass
class Resending:
    """One run over the deliveries of the fallback log.

    A lease keeps two runs from sending the same. A delivery is entered in the ledger after it is
    stored. If its registry has one webhook alone in
    ACR_WEBHOOKS, the row is that webhook's, written under its lease, so that reconcile does not
    send the same again.
    """

    sources: Sources
    dry_run: bool
    seen: Callable[[Resent], None]
    counts: Counter[str] = field(default_factory=Counter)
    error: str | None = None
    _known: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    _webhooks: dict[str, list[Webhook]] = field(default_factory=lambda: defaultdict(list))
    _leases: dict[str, Lease] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to send."""
        return not (self.error or self.counts[NOT_STORED])

    async def run(self, deliveries: Sequence[Lost]) -> None:
        """Sends `deliveries`. `counts` and `error` have the results so far."""
        for webhook in self.sources.settings.webhooks:
            self._webhooks[self.sources.login_server(webhook)].append(webhook)
        try:
            for row in await self.sources.ledger.rows():
                self._known[row.key].append(row)
            for each in deliveries:
                result = await self._one(each)
                self.counts[result.result] += 1
                self.seen(result)
            await self._forget()
        except LedgerUnavailable as error:
            self.error = str(error)
        except LeaseHeldError:
            self.error = "Another run holds the lease of a webhook, or of the fallback log."
        finally:
            for lease in self._leases.values():
                await lease.release()

    async def _one(self, lost: Lost) -> Resent:
        now = datetime.now(UTC)
        pipeline, rejected = self.sources.pipeline, self.sources.app.routes.rejected_queue
        delivery = replace(lost.delivery, recovered_at=now)
        webhook, key = None, row_key("event", lost.id) if lost.id else None
        if not self.dry_run:
            await self._acquire(None)
        if key and self._is_known(key, lost):
            return Resent(lost.id, KNOWN)
        try:
            routed = pipeline.route(pipeline.parse(delivery), delivery)
        except Problem as problem:
            if self.dry_run:
                return Resent(lost.id, WOULD_SEND, (rejected,), problem.kind.reason)
            outcome = await pipeline.recover(delivery, problem)
            if outcome.loss:
                return Resent(lost.id, NOT_STORED, (rejected,), outcome.loss.detail)
            await self._enter(None, key, now, REJECTED, (rejected,), lost)
            return Resent(lost.id, REJECTED, (rejected,), problem.kind.reason)
        # What was to be rejected and is accepted now goes where its event goes.
        named = [name for name in lost.queues or () if name != rejected]
        queues = tuple(named or routed.queues)
        if self.dry_run:
            return Resent(lost.id, WOULD_SEND, queues)
        registry = routed.event.get("acrregistry") if routed.event else None
        found = self._webhooks[login_server(registry) or ""]
        if len(found) == 1:
            webhook = found[0]
            await self._acquire(webhook)
            if key and self._is_known(key, lost):
                return Resent(lost.id, KNOWN)
        if failures := await pipeline.enqueue(replace(routed, queues=queues)):
            return Resent(lost.id, NOT_STORED, queues, "; ".join(map(str, failures)))
        await self._enter(webhook, key, now, SENT, queues, lost)
        return Resent(lost.id, SENT, queues)

    def _is_known(self, key: str, lost: Lost) -> bool:
        """Whether the ledger says that the queues have this delivery of this region."""
        for row in self._known[key]:
            if row.region != lost.delivery.region:
                continue  # geo-replication: the event of another region has the same id
            if row.queues is None or lost.queues is None or set(lost.queues) <= set(row.queues):
                return True
            if row.outcome not in (SENT, redeliver.SENT):
                return True  # reconcile sent it to all of its queues
        return False

    async def _acquire(self, webhook: Webhook | None) -> None:
        name = webhook.key if webhook else ""
        lease = self._leases.get(name)
        if lease is None:
            lease = self._leases[name] = self.sources.ledger.lease(webhook)
        if not await lease.acquire_or_renew():
            # Another run may have recovered deliveries until now.
            self._known.clear()
            for row in await self.sources.ledger.rows():
                self._known[row.key].append(row)

    async def _enter(
        self,
        webhook: Webhook | None,
        key: str | None,
        now: datetime,
        outcome: str,
        queues: tuple[str, ...],
        lost: Lost,
    ) -> None:
        if key is None:
            return
        region = lost.delivery.region
        await self.sources.ledger.add(
            webhook, key, now, outcome=outcome, queues=queues, region=region
        )
        self._known[key].append(Row(key, now, outcome, queues, region))

    async def _forget(self) -> None:
        """Removes the rows of old deliveries that no webhook's run would remove."""
        if self.dry_run:
            return
        horizon = datetime.now(UTC) - self.sources.settings.memory
        await self.sources.ledger.forget_resent(horizon)
