"""One run over the delivery log of one webhook."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared import log
from shared.core.problems import Kind, Problem
from shared.core.text import quoted
from shared.core.webhooks import Webhook
from shared.pipeline import Pipeline
from shared.reconcile import delivery_log
from shared.reconcile.delivery_log import Entry, Verdict, Window
from shared.reconcile.lease import Lease, LeaseHeldError
from shared.reconcile.ledger import Ledger, entry_key
from shared.reconcile.management import Management
from shared.reconcile.page import DeliveryLogUnavailable
from shared.reconcile.report import (
    FAILED,
    KNOWN,
    LISTED_TWICE,
    NOT_STORED,
    RECOVERED,
    REJECTED_NOW,
    TIMED_OUT,
    Report,
)
from shared.reconcile.table import LedgerUnavailable

# After the deadline, work that has begun gets so long to end.
GRACE_SECONDS = 30

# Of one webhook.
_EVENTS_AT_A_TIME = 8

# Entries are read for so long until other tasks of the event loop have their turn.
_HOLD_SECONDS = 0.01

# Row keys in memory: 40 MB of them.
_MOST_LISTED = 200_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a run, for all webhooks.

    Args:
        window: The deliveries that the run considers, by time.
        horizon: Ledger rows from before this time are removed.
        deadline: Nothing new begins after this time of the running loop's clock. None: no limit.
        dry_run: Whether nothing may change.
        login_server: The login server of a webhook's registry.
        advanced: Gets the number of entries looked at.

    """

    window: Window
    horizon: datetime
    deadline: float | None
    dry_run: bool
    login_server: Callable[[Webhook], str]
    advanced: Callable[[int], None]


class _TimeOver(Exception):
    """The time of the run is over."""


class WebhookRun:
    """Sends the missed deliveries of one webhook through the pipeline.

    A delivery is entered in the ledger after its event is stored. A run that is killed loses
    nothing: at worst an event is stored twice, under the same id.
    """

    def __init__(
        self, plan: Plan, webhook: Webhook, pipeline: Pipeline, ledger: Ledger, lease: Lease
    ) -> None:
        self.report = Report(webhook)
        self._plan = plan
        self._webhook = webhook
        self._pipeline = pipeline
        self._ledger = ledger
        self._lease = lease
        # The row keys of recovered deliveries. Read when the first missed entry is found.
        self._known: dict[str, datetime] | None = None
        # The row keys of what the delivery log still lists: these rows must stay. None where there
        # are too many to keep in memory: all rows stay then.
        self._listed: set[str] | None = set()

    async def run(self, management: Management) -> None:
        """Goes through the delivery log. `report` has what was done, and any error."""
        report, deadline = self.report, self._plan.deadline
        try:
            async with asyncio.timeout_at(deadline and deadline + GRACE_SECONDS):
                async with aclosing(management.pages(self._webhook)) as pages:
                    async for page in pages:
                        self._require_time()
                        await self.page(page)
                await self._forget()
        except (DeliveryLogUnavailable, LedgerUnavailable) as error:
            report.error = str(error)
        except LeaseHeldError:
            report.error = "Another run holds this webhook's lease."
        except (_TimeOver, TimeoutError):
            report.error = "The time of this run is over. The next run does the rest."
        except Exception as error:  # noqa: BLE001 (an internal error must not stop the others)
            log.internal_error(error)
            report.error = "An internal error: the log has it as acr_fault."
        finally:
            await self._lease.release()
        counts = {name: count for name, count in report.entries.items() if count}
        fields = {"webhook": self._webhook.label, **counts, "error": report.error}
        if report.timed_out:
            fields[TIMED_OUT] = report.timed_out
        log.reconciled(logging.INFO if report.is_done else logging.ERROR, fields)

    def _require_time(self) -> None:
        deadline = self._plan.deadline
        if deadline and asyncio.get_running_loop().time() > deadline:
            raise _TimeOver

    async def page(self, entries: Iterable[Any]) -> None:
        """Goes through one page. Deliveries that arrive meanwhile are served in between."""
        clock = asyncio.get_running_loop().time
        missed: list[Entry] = []
        others, pause_at = 0, clock() + _HOLD_SECONDS
        for each in entries:
            entry = delivery_log.read(each, self._plan.window)
            if entry.verdict in (Verdict.MISSED, Verdict.MALFORMED, Verdict.OLD):
                self._list(entry_key(entry))
            if entry.verdict in (Verdict.MISSED, Verdict.MALFORMED):
                missed.append(entry)
            else:
                self.report.entries[entry.verdict.value] += 1
                others += 1
            if len(missed) == _EVENTS_AT_A_TIME:
                await self._chunk(missed)
                missed = []
            if clock() >= pause_at:
                self._plan.advanced(others)
                others = 0
                await asyncio.sleep(0)
                self._require_time()
                pause_at = clock() + _HOLD_SECONDS
        await self._chunk(missed)
        self._plan.advanced(others)

    def _list(self, key: str) -> None:
        if self._listed is not None:
            self._listed.add(key)
            if len(self._listed) > _MOST_LISTED:
                self._listed = None

    async def _chunk(self, missed: list[Entry]) -> None:
        if not missed:
            return
        # Of entries with one id, the first counts.
        once = {entry_key(entry): entry for entry in reversed(missed)}
        self.report.entries[LISTED_TWICE] += len(missed) - len(once)
        new = await self._new(once)
        if new and not self._plan.dry_run:
            self._require_time()
            if not await self._lease.acquire_or_renew():
                # Another run may have worked on the webhook until now.
                self._known = None
                new = await self._new(once)
        self.report.entries[KNOWN] += len(once) - len(new)
        self.report.timed_out += sum(entry.timed_out for entry in new.values())
        self._plan.advanced(len(missed))
        if self._plan.dry_run:
            self.report.entries[Verdict.MISSED.value] += len(new)
            return
        ends = await asyncio.gather(*map(self._recover, new.items()), return_exceptions=True)
        for error in filter(None, ends):
            raise error

    async def _new(self, missed: dict[str, Entry]) -> dict[str, Entry]:
        """Those of `missed` that were not recovered yet."""
        if self._known is None:
            self._known = await self._ledger.entries(self._webhook)
        return {key: entry for key, entry in missed.items() if key not in self._known}

    async def _recover(self, missed: tuple[str, Entry]) -> None:
        """Sends one delivery through the pipeline, and counts what became of it."""
        key, entry = missed
        count = self.report.entries
        now = datetime.now(UTC)
        login_server = self._plan.login_server(self._webhook)
        delivery = delivery_log.to_delivery(entry, login_server, now)
        problem = None
        if entry.verdict is Verdict.MALFORMED:
            log_of = f"the delivery log of {self._webhook.label}"
            detail = f"Entry {quoted(entry.id)} of {log_of} is malformed."
            problem = Problem(Kind.INVALID_LOG_ENTRY, detail)
        try:
            outcome = await self._pipeline.recover(delivery, problem)
        except Exception as error:  # noqa: BLE001 (one event must not stop the others)
            log.internal_error(error)
            count[FAILED] += 1
            return
        if outcome.loss:
            self.report.error = f"Storage did not store all of them: {outcome.loss.detail}"
            count[NOT_STORED] += 1
            return
        count[REJECTED_NOW if outcome.response.status >= 400 else RECOVERED] += 1
        if self._known is not None:
            self._known[key] = now
        await self._ledger.add(
            self._webhook,
            key,
            now,
            outcome=outcome.name,
            queues=outcome.fields.get("queues"),
            region=entry.region,
        )

    async def _forget(self) -> None:
        """Removes old ledger rows that the delivery log, read to its end, no longer lists."""
        if self._known is None or self._listed is None or self._plan.dry_run:
            return
        old = {key for key, at in self._known.items() if at < self._plan.horizon} - self._listed
        if old:
            await self._ledger.remove(self._webhook, old)
