"""Reconciling: deliveries that the registry's record tells of and that never arrived."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared import log, records
from shared.ingest import Delivery, Ingest
from shared.management import Management, RecordUnavailable
from shared.problems import Kind, Problem
from shared.records import Entry, Verdict, Window
from shared.recoveries import TABLE, Recoveries, key
from shared.settings import MANAGEMENT, ReconcileSettings
from shared.transport import session
from shared.webhooks import Webhook

# Seconds after which a round begins nothing new: the next one is due soon.
_ROUND = 240

# After this time without a sign of life others take over what somebody was at.
_HOLD = timedelta(seconds=60)

# So many webhooks at a time, and so many events of each.
_WEBHOOKS, _EVENTS = 4, 8

# After so many of these in a row of which storage took nothing, it will not take the rest either.
_IN_VAIN = 10

# What becomes of an entry beside the verdicts of the record.
RECOVERED = "recovered"
KEPT = "rejected now"
KNOWN = "already recovered"
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
        return not self.trouble and not self.entries[NOT_STORED] and not self.entries[FAULTY]


class _Stopped(Exception):
    """The rest of a webhook's record has to wait; the message says why."""


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
        hold: timedelta = _HOLD,
        advanced: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`since`: earlier deliveries are left alone. `advanced` is told of entries looked at."""
        self.ingest = ingest
        self.settings = settings
        self.dry_run = dry_run
        self.advanced = advanced
        self._since = since
        self._hold = hold

    async def run(self) -> list[Report]:
        """One round over all webhooks, each with its report.

        Raises ValueError where the table could never be reached.
        """
        now = datetime.now(UTC)
        horizon = now - self.settings.memory
        window = Window(max(horizon, self._since or horizon), now)
        at_a_time = asyncio.Semaphore(_WEBHOOKS)
        deadline = asyncio.get_running_loop().time() + _ROUND
        async with session() as shared:
            management = Management(self.settings.endpoint, self.settings.principal, shared)
            recoveries = Recoveries(self.ingest.settings.storage, shared, hold=self._hold)

            async def one(webhook: Webhook) -> Report:
                async with at_a_time:
                    round_ = _Round(self, webhook, recoveries, window, deadline)
                    return await round_.run(management)

            return list(await asyncio.gather(*map(one, self.settings.webhooks)))


class _Round:
    """One round over the record of one webhook."""

    def __init__(
        self,
        whole: Reconciliation,
        webhook: Webhook,
        recoveries: Recoveries,
        window: Window,
        deadline: float,
    ) -> None:
        self._whole = whole
        self._webhook = webhook
        self._recoveries = recoveries
        self._window = window
        self._deadline = deadline
        self._report = Report(webhook)
        # The keys of what was recovered already; looked up when the first entry is missed.
        self._known: set[str] | None = None
        # When others are to hear from us again; None where the webhook is not ours yet.
        self._sign_at: float | None = None
        self._not_noted: Exception | None = None
        self._in_vain = 0

    async def run(self, management: Management) -> Report:
        report = self._report
        try:
            async for page in management.pages(self._webhook):
                self._require_time()
                await self._page(page)
        except (RecordUnavailable, _Stopped) as error:
            report.trouble = str(error)
        except Exception as error:  # noqa: BLE001 (on odd answers the SDK raises anything)
            report.trouble = (
                f"the table {TABLE} cannot be used ({type(error).__name__}): the next round tries "
                "again; an identity needs the role Storage Table Data Contributor"
            )
        finally:
            if self._sign_at is not None:
                await self._recoveries.let_go(self._webhook)
        fields = {"webhook": self._webhook.label, **report.entries, "trouble": report.trouble}
        log.reconciled(logging.INFO if report.is_done else logging.ERROR, fields)
        return report

    async def _page(self, page: list[object]) -> None:
        missed = []
        for each in page:
            entry = records.read(each, self._window)
            if entry.verdict in (Verdict.MISSED, Verdict.MALFORMED):
                missed.append(entry)
            else:
                self._report.entries[entry.verdict.value] += 1
        self._whole.advanced(len(page) - len(missed))
        for start in range(0, len(missed), _EVENTS):
            chunk = missed[start : start + _EVENTS]
            await self._chunk(chunk)
            self._whole.advanced(len(chunk))

    async def _chunk(self, missed: list[Entry]) -> None:
        new = await self._new(missed)
        if new and not self._whole.dry_run:
            self._require_time()
            if await self._take():
                # Only now nobody else adds to what is known.
                self._known = None
                new = await self._new(missed)
                horizon = self._window.now - self._whole.settings.memory
                await self._recoveries.forget(self._webhook, horizon)
        self._report.entries[KNOWN] += len(missed) - len(new)
        if not new:
            return
        if self._whole.dry_run:
            self._report.entries[Verdict.MISSED.value] += len(new)
            return
        became = await asyncio.gather(*map(self._recover, new))
        self._report.entries.update(became)
        if self._not_noted:
            raise self._not_noted
        self._in_vain = self._in_vain + 1 if set(became) == {NOT_STORED} else 0
        if self._in_vain == _IN_VAIN:
            raise _Stopped("storage takes no events: the next round tries again")

    def _require_time(self) -> None:
        if asyncio.get_running_loop().time() > self._deadline:
            raise _Stopped("there is more than one round can do: the next one goes on")

    async def _new(self, missed: list[Entry]) -> list[Entry]:
        """Those of `missed` that were not recovered yet, each id once."""
        if self._known is None:
            self._known = await self._recoveries.known(self._webhook)
        new = {key(entry.id): entry for entry in missed}
        return [entry for row, entry in new.items() if row not in self._known]

    async def _take(self) -> bool:
        """Sees to it that the webhook is ours alone; whether that is news."""
        now = asyncio.get_running_loop().time()
        first = self._sign_at is None
        if self._sign_at is None or now >= self._sign_at:
            if not await self._recoveries.take(self._webhook):
                raise _Stopped("another instance is at it")
            self._sign_at = now + self._recoveries.hold.total_seconds() / 3
        return first

    async def _recover(self, entry: Entry) -> str:
        """Sends one delivery down the road; what became of it."""
        now = datetime.now(UTC)
        delivery = Delivery(entry.body, self._registry(entry), None, now, recovered_at=now)
        problem = None
        if entry.verdict is Verdict.MALFORMED:
            detail = f"Entry {entry.id} in the record of {self._webhook.label} holds no delivery."
            problem = Problem(Kind.INVALID_RECORD, detail)
        try:
            outcome = await self._whole.ingest.recover(delivery, problem)
        except Exception as error:  # noqa: BLE001 (a fault with one event must not stop the others)
            log.fault(error)
            return FAULTY
        if outcome.loss:
            return NOT_STORED
        try:
            await self._recoveries.note(self._webhook, entry.id, now)
        except Exception as error:  # noqa: BLE001 (on odd answers the SDK raises anything)
            self._not_noted = error
        if self._known is not None:
            self._known.add(key(entry.id))
        return KEPT if outcome.answer.status >= 400 else RECOVERED

    def _registry(self, entry: Entry) -> str | None:
        """What the delivery's URL said of the registry, or else what its webhook's id says."""
        if entry.registry is not None or entry.names_registry:
            return entry.registry
        allowed = self._whole.ingest.settings.registries
        listed = allowed.by_resource_id(self._webhook.registry_id)
        suffix = _CLOUDS.get(self._whole.settings.endpoint, _CLOUDS[MANAGEMENT])
        usual = f"{self._webhook.registry}.{suffix}".lower()
        if listed:
            return listed.login_server
        return usual if usual in allowed else None
