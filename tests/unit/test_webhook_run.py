"""A page of the delivery log holds up no other task."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from shared.core.webhooks import Webhook
from shared.reconcile import webhook_run
from shared.reconcile.delivery_log import Window
from shared.reconcile.webhook_run import Plan, WebhookRun
from tests.support.registry import webhook_id

NOW = datetime.now(UTC)
DELIVERED = {"id": "e", "eventResponseMessage": {"statusCode": "202"}}
OLD = {"eventRequestMessage": {"content": {"id": "o", "timestamp": "2001-01-01T00:00:00Z"}}}


class _Ledger:
    """Knows an old row. Notes what is removed."""

    def __init__(self) -> None:
        self.removed: set[str] = set()

    async def entries(self, _: Webhook) -> dict[str, datetime]:
        return {"row": NOW - timedelta(days=99)}

    async def remove(self, _: Webhook, keys: set[str]) -> None:
        self.removed |= keys

    async def release(self) -> None:
        pass


class _Management:
    def __init__(self, *entries: Any) -> None:
        self._entries = entries

    async def pages(self, _: Webhook) -> Any:
        yield iter(self._entries)


def _run(ledger: _Ledger, advanced: Any = lambda _: None, *, dry_run: bool = False) -> WebhookRun:
    window = Window(NOW - timedelta(days=30), NOW)
    plan = Plan(window, window.since, None, dry_run, lambda _: "", advanced)
    made = cast("Any", ledger)
    return WebhookRun(plan, Webhook.parse(webhook_id()), cast("Any", None), made, made)


async def test_other_tasks_run_between_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between entries, whose time is over, other tasks of the event loop have their turn."""
    monkeypatch.setattr(webhook_run, "_HOLD_SECONDS", 0)
    turns = counted = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def advanced(count: int) -> None:
        nonlocal counted
        counted += count

    task = asyncio.create_task(other())
    run = _run(_Ledger(), advanced)
    await run.page(iter([DELIVERED] * 1000))
    task.cancel()
    assert turns >= 1000
    assert counted == run.report.entries["delivered"] == 1000


@pytest.mark.parametrize(("most", "removed"), [(2, {"row"}), (1, set())])
async def test_too_many_rows_remove_none(
    monkeypatch: pytest.MonkeyPatch, most: int, removed: set[str]
) -> None:
    """Where more entries are listed than memory may hold, no row of the ledger is removed."""
    monkeypatch.setattr(webhook_run, "_MOST_LISTED", most)
    monkeypatch.setattr(webhook_run.WebhookRun, "_chunk", _reads_ledger)
    ledger = _Ledger()
    await _run(ledger).run(cast("Any", _Management(OLD, {"id": "malformed"})))
    assert ledger.removed == removed


async def _reads_ledger(self: WebhookRun, _: Any) -> None:
    await self._new({})
