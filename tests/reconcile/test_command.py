"""The reconcile command: its options, its settings, and how it ends."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from azure.data.tables.aio import TableServiceClient

from tests.support.commands import Command
from tests.support.deliveries import recent
from tests.support.registry import CONTOSO_EVENTS, EVENTS, Reconcile, Registry
from tests.support.storage import StorageAccount


async def test_reconcile_dry_run_changes_nothing(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A dry run of reconcile reports the missed deliveries and changes nothing."""
    registry[EVENTS].entries = [registry.entry(recent()) for _ in range(3)]
    result = await reconcile("--dry-run")
    assert (result.status, result.counts) == (1, {"missed": 3})
    assert "Dry run: nothing was changed" in result.output
    assert await storage.queues() == []
    async with TableServiceClient.from_connection_string(storage.connection) as tables:
        assert [table async for table in tables.list_tables()] == []
    assert (await reconcile()).counts == {"recovered": 3}
    assert (await reconcile("--dry-run")).counts == {"already recovered": 3}


async def test_since_option_skips_earlier_deliveries(
    registry: Registry, reconcile: Reconcile
) -> None:
    """The option `--since` skips earlier deliveries."""
    registry[EVENTS].entries = [registry.entry(recent(age=timedelta(hours=h))) for h in (1, 3, 5)]
    since = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    result = await reconcile("--since", since)
    assert result.counts == {"recovered": 1, "too old": 2}


async def test_webhook_option_selects_webhook(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """The option `--webhook` selects a webhook that the settings do not name."""
    missed = recent("chart_delete")
    registry[CONTOSO_EVENTS].entries = [registry.entry(missed, uri="https://app.example")]
    result = await reconcile("--webhook", CONTOSO_EVENTS, ACR_WEBHOOKS="")
    assert result.counts == {"recovered": 1}
    [event] = await storage.documents("acr-chart-delete")
    assert event["acrregistry"] == "contoso.azurecr.io"


@pytest.mark.parametrize(
    ("arguments", "settings", "error"),
    [
        ([], {"ACR_WEBHOOKS": ""}, "No webhook is named: use --webhook or set ACR_WEBHOOKS."),
        ([], {"ACR_WEBHOOKS": "/subscriptions/x"}, 'ACR_WEBHOOKS: entry 1: "/subscriptions/x" is'),
        (["--webhook", "x"], {}, 'ACR_WEBHOOKS: entry 1: "x" is not the resource id of a webhook'),
        (
            [],
            {"AcrManagement__endpoint": "http://x"},
            "AcrManagement__endpoint must be an HTTPS URL",
        ),
        ([], {"AcrManagement__credential": "key"}, "AcrManagement__credential must be managed"),
        ([], {"ACR_RECOVERED_DAYS": "0"}, "ACR_RECOVERED_DAYS must be a number from 1 to 365"),
        ([], {"IDENTITY_ENDPOINT": "http://127.0.0.1:9/"}, "could not get an access token"),
    ],
)
async def test_unusable_setting_is_named(
    reconcile: Reconcile, arguments: list[str], settings: dict[str, str], error: str
) -> None:
    """The command fails with an error that names a setting it cannot use."""
    result = await reconcile(*arguments, **settings)
    assert result.status == 1
    assert error in result.output


async def test_concurrent_runs_recover_events_once(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """Concurrent runs recover each delivery once."""
    missed = [recent() for _ in range(300)]
    registry[EVENTS].entries = [registry.entry(delivery) for delivery in missed]
    results = await asyncio.gather(*(reconcile() for _ in range(3)))
    assert sum(result.counts.get("recovered", 0) for result in results) == 300
    for result in results:
        busy = "Another run holds this webhook's lease." in result.output
        assert result.status == (1 if busy else 0)
    assert sorted(await storage.ids("acr-push")) == sorted(d["id"] for d in missed)


async def test_overlong_run_ends_with_error(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run that exceeds its time ends and reports it."""
    registry[EVENTS].entries = [registry.entry(recent()) for _ in range(3)]
    patch = (
        "from shared.reconcile.runner import Reconciliation\n"
        "init = Reconciliation.__init__\n"
        "def short(self, *a, **k): init(self, *a, **{**k, 'seconds': -1})\n"
        "Reconciliation.__init__ = short"
    )
    result = await reconcile(patch=patch)
    assert result.status == 1
    assert "not completed" in result.output
    assert "The time of this run is over. The next run does the rest." in result.output


async def test_stopped_run_reports_its_work(registry: Registry, storage: StorageAccount) -> None:
    """A run that a signal stops reports what it recovered."""
    delivery_log = registry[EVENTS]
    delivery_log.page = 5
    delivery_log.entries = [registry.entry(recent()) for _ in range(6)]
    asked = asyncio.Event()
    whole = registry.list_events

    async def stall_at_second_page(request: web.Request) -> web.StreamResponse:
        if "$skiptoken" not in request.query:
            delivery_log.fails = None
            response: web.StreamResponse = await whole(request)
            delivery_log.fails = stall_at_second_page
            return response
        asked.set()
        await asyncio.sleep(60)
        raise AssertionError

    delivery_log.fails = stall_at_second_page
    command = Command("reconcile", settings=registry.settings)
    await asyncio.wait_for(asked.wait(), 20)
    command.stop(signal.SIGINT)
    ended = await command.ended()
    assert ended.status == 130
    assert [cell.strip() for cell in ended.output.split("│")].count("5") == 1
    assert len(await storage.documents("acr-push")) == 5
