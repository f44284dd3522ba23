"""Reconciling: deliveries that the registry's record tells of and that never arrived."""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared import log, records
from shared.ingest import Delivery, Ingest, Storage
from shared.management import Management, RecordUnavailable
from shared.problems import Kind, Problem
from shared.queues import Depth, StorageUnavailable
from shared.records import Entry, Verdict, Window
from shared.recoveries import Recoveries, TableUnavailable, Taken, row
from shared.registries import AllowList
from shared.settings import MANAGEMENT, ReconcileSettings
from shared.text import shown
from shared.transport import session
from shared.webhooks import Webhook

# Seconds after which a round begins nothing new, as the next one is due, and after which it ends.
ROUND, GRACE = 240, 30

# After this time without a sign of life others take over what somebody was at.
_HOLD = timedelta(seconds=60)

# So many webhooks at a time, and so many events of each.
_WEBHOOKS, _EVENTS = 4, 8

# A queue that failed so often in a row is not tried again in this round.
_GIVE_UP = 10

# What becomes of an entry beside the verdicts of the record.
RECOVERED = "recovered"
KEPT = "rejected now"
KNOWN = "already recovered"
TWICE = "listed twice"
NOT_STORED = "not stored"
FAULTY = "failed"

# Where the management API is, by how login servers end there.
_CLOUDS = json.loads((Path(__file__).parent / "clouds.json").read_bytes())


@dataclass
class Report:
    """What the record of a webhook said and what was done: entries by what became of them.

    `trouble`: what kept the round from ending well, and what to do; None where nothing did.
    """

    webhook: Webhook
    entries: Counter[str] = field(default_factory=Counter)
    trouble: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to recover."""
        left = (NOT_STORED, FAULTY, Verdict.MISSED.value)
        return not self.trouble and not any(self.entries[name] for name in left)


class Reconciliation:
    """Reads the records of webhooks and sends what was missed down the road.

    An event is remembered after it is stored: whenever this is killed, nothing is lost, and at
    worst an event comes twice, under the same id.
    """

    def __init__(
        self,
        ingest: Ingest,
        settings: ReconcileSettings,
        *,
        since: datetime | None = None,
        dry_run: bool = False,
        seconds: float | None = ROUND,
        hold: timedelta = _HOLD,
        advanced: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`since`: earlier deliveries are left alone. `advanced` is told of entries looked at.

        After `seconds` (None: never) nothing new is begun.
        """
        # A queue that fails shall not keep events for others waiting.
        self.ingest = Ingest(ingest.settings, ingest.routes, _Sparing(ingest.queues))
        self.settings = settings
        self.dry_run = dry_run
        self.advanced = advanced
        self._since = since
        self._seconds = seconds
        self._hold = hold
        self.reports: list[Report] = []

    async def run(self) -> None:
        """One round over all webhooks; `reports` has what was done so far, one for each.

        Raises ValueError where the table could never be reached.
        """
        now = datetime.now(UTC)
        horizon = now - self.settings.memory
        window = Window(max(horizon, self._since or horizon), now)
        at_a_time = asyncio.Semaphore(_WEBHOOKS)
        seconds = self._seconds
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        async with session() as shared:
            management = Management(self.settings.endpoint, self.settings.principal, shared)
            recoveries = Recoveries(self.ingest.settings.storage, shared, hold=self._hold)

            async def reconcile(webhook: Webhook) -> None:
                async with at_a_time:
                    round_ = _Round(self, webhook, recoveries, window, deadline)
                    self.reports.append(round_.report)
                    await round_.run(management)

            # In any order, so that slow ones do not always come before the same others.
            webhooks = random.sample(self.settings.webhooks, len(self.settings.webhooks))
            await asyncio.gather(*map(reconcile, webhooks))


class _Sparing:
    """Storage that does not try a queue again that failed too often in a row."""

    def __init__(self, queues: Storage) -> None:
        self._queues = queues
        self._failures: Counter[str] = Counter()
        self._last: dict[str, StorageUnavailable] = {}

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        """Raises StorageUnavailable."""
        if self._failures[queue] >= _GIVE_UP:
            raise self._last[queue]
        try:
            await self._queues.send(queue, message, deadline, request_id)
        except StorageUnavailable as error:
            self._failures[queue] += 1
            self._last[queue] = error
            raise
        self._failures[queue] = 0

    async def reach(self, queue: str, deadline: float) -> None:
        """Raises StorageUnavailable."""
        await self._queues.reach(queue, deadline)

    async def depth(self, queue: str, deadline: float) -> Depth:
        """Raises StorageUnavailable."""
        return await self._queues.depth(queue, deadline)

    async def close(self) -> None:
        """Closes the connections."""
        await self._queues.close()


class _TimeOver(Exception):
    """The time of a round is over."""


class _Round:
    """One round over the record of one webhook."""

    def __init__(
        self,
        whole: Reconciliation,
        webhook: Webhook,
        recoveries: Recoveries,
        window: Window,
        deadline: float | None,
    ) -> None:
        self._whole = whole
        self._webhook = webhook
        self._recoveries = recoveries
        self._lease = recoveries.lease(webhook)
        self._window = window
        self._deadline = deadline
        self.report = Report(webhook)
        # The rows of what was recovered already; looked up when the first entry is missed.
        self._known: dict[str, datetime] | None = None
        # The rows of what the record still tells of: nothing of that may be forgotten.
        self._listed: set[str] = set()

    async def run(self, management: Management) -> None:
        report = self.report
        try:
            async with asyncio.timeout_at(self._deadline and self._deadline + GRACE):
                async with aclosing(management.pages(self._webhook)) as pages:
                    async for page in pages:
                        self._require_time()
                        await self._page(page)
                await self._forget()
        except (RecordUnavailable, TableUnavailable) as error:
            report.trouble = str(error)
        except Taken:
            report.trouble = "another instance is at it"
        except (_TimeOver, TimeoutError):
            report.trouble = "the time of this round is over: the rest waits for the next"
        except Exception as error:  # noqa: BLE001 (a fault of ours must not stop the others)
            log.fault(error)
            report.trouble = "a fault of the app: the log has it as acr_fault"
        finally:
            await self._lease.let_go()
        counts = {name: count for name, count in report.entries.items() if count}
        fields = {"webhook": self._webhook.label, **counts, "error": report.trouble}
        log.reconciled(logging.INFO if report.is_done else logging.ERROR, fields)

    def _require_time(self) -> None:
        if self._deadline and asyncio.get_running_loop().time() > self._deadline:
            raise _TimeOver

    async def _page(self, page: list[Any]) -> None:
        missed = []
        for each in page:
            entry = records.read(each, self._window)
            if entry.verdict in (Verdict.MISSED, Verdict.MALFORMED):
                missed.append(entry)
            else:
                self.report.entries[entry.verdict.value] += 1
            if entry.verdict in (Verdict.MISSED, Verdict.MALFORMED, Verdict.OLD):
                self._listed.add(_row(entry))
        self._whole.advanced(len(page) - len(missed))
        for start in range(0, len(missed), _EVENTS):
            chunk = missed[start : start + _EVENTS]
            await self._chunk(chunk)
            self._whole.advanced(len(chunk))

    async def _chunk(self, missed: list[Entry]) -> None:
        # Of entries with one id the first counts.
        once = {_row(entry): entry for entry in reversed(missed)}
        self.report.entries[TWICE] += len(missed) - len(once)
        new = await self._new(once)
        if new and not self._whole.dry_run:
            self._require_time()
            if not await self._lease.keep():
                # Until now somebody else may have been at it.
                self._known = None
                new = await self._new(once)
        self.report.entries[KNOWN] += len(once) - len(new)
        if self._whole.dry_run:
            self.report.entries[Verdict.MISSED.value] += len(new)
            return
        ends = await asyncio.gather(*map(self._recover, new.items()), return_exceptions=True)
        for error in filter(None, ends):
            raise error

    async def _new(self, missed: dict[str, Entry]) -> dict[str, Entry]:
        """Those of `missed` that were not recovered yet."""
        if self._known is None:
            self._known = await self._recoveries.known(self._webhook)
        return {name: entry for name, entry in missed.items() if name not in self._known}

    async def _recover(self, missed: tuple[str, Entry]) -> None:
        """Sends one delivery, with its row, down the road, and counts what became of it."""
        name, entry = missed
        count = self.report.entries
        now = datetime.now(UTC)
        delivery = Delivery(entry.body, self._registry(entry), None, now, recovered_at=now)
        problem = None
        if entry.verdict is Verdict.MALFORMED:
            detail = f"Entry {shown(entry.id)} in the record of {self._webhook.label} is malformed."
            problem = Problem(Kind.INVALID_RECORD, detail)
        try:
            outcome = await self._whole.ingest.recover(delivery, problem)
        except Exception as error:  # noqa: BLE001 (a fault with one event must not stop the others)
            log.fault(error)
            count[FAULTY] += 1
            return
        if outcome.loss:
            self.report.trouble = f"storage did not take all of them: {outcome.loss.detail}"
            count[NOT_STORED] += 1
            return
        count[KEPT if outcome.answer.status >= 400 else RECOVERED] += 1
        if self._known is not None:
            self._known[name] = now
        await self._recoveries.note(self._webhook, name, now)

    def _registry(self, entry: Entry) -> str | None:
        """What the delivery's URL said of the registry, or else what its webhook's id says."""
        if entry.registry is not None or entry.names_registry:
            return entry.registry
        return login_server(
            self._webhook, self._whole.ingest.settings.registries, self._whole.settings.endpoint
        )

    async def _forget(self) -> None:
        """Forgets what is old and what the record, now read to its end, does not tell of."""
        if self._known is None or self._whole.dry_run:
            return
        horizon = self._window.now - self._whole.settings.memory
        old = {name for name, at in self._known.items() if at < horizon} - self._listed
        if old:
            await self._recoveries.forget(self._webhook, old)


def login_server(webhook: Webhook, allowed: AllowList, endpoint: str) -> str:
    """The login server of the registry of `webhook`: the listed one, or else the usual one."""
    listed = allowed.of_resource(webhook.registry_id)
    if listed:
        return listed.login_server
    return f"{webhook.registry}.{_CLOUDS.get(endpoint, _CLOUDS[MANAGEMENT])}".lower()


def _row(entry: Entry) -> str:
    return row("entry" if entry.verdict is Verdict.MALFORMED else "event", entry.id)
