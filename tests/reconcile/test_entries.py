"""Entries of the delivery log: which ones a run recovers, and with which result."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables.aio import TableClient

from shared.core.schemas import validator
from shared.core.violations import violations
from tests.support.deliveries import read_back, recent
from tests.support.registry import EVENTS, Reconcile, Registry
from tests.support.storage import StorageAccount

PROBLEM = '{"type": "https://acr-webhook.example/problems/'


@pytest.mark.parametrize(
    ("status", "response", "outcome"),
    [
        ("200", "", "delivered"),
        ("202", "{}", "delivered"),
        ("204", "", "delivered"),
        ("400", PROBLEM + 'not-json", "status": 400, "det', "rejected"),
        ("403", PROBLEM + 'registry-not-allowed"}', "rejected"),
        ("413", PROBLEM + 'body-too-large"}', "rejected"),
        ("422", PROBLEM + 'invalid-delivery"}', "rejected"),
        ("403", "<html>Blocked</html>", "recovered"),
        ("400", "", "recovered"),
        ("302", "", "recovered"),
        ("401", "", "recovered"),
        ("404", "", "recovered"),
        ("429", "", "recovered"),
        ("500", PROBLEM + 'fault"}', "recovered"),
        ("502", "<html>", "recovered"),
        ("503", PROBLEM + 'storage-unavailable"}', "recovered"),
        ("504", "", "recovered"),
        ("nonsense", "", "recovered"),
        (None, "", "recovered"),
    ],
)
async def test_missed_entry_is_recovered_once(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount,
    status: str | None, response: str, outcome: str,
) -> None:  # fmt: skip
    """A run recovers a missed delivery once, and leaves a delivered or rejected one alone."""
    delivery = recent() | {"future": [1, {"x": None}]}
    registry[EVENTS].entries = [registry.entry(delivery, status, response)]
    result = await reconcile()
    assert (result.status, result.counts) == (0, {outcome: 1}), result.output
    events = await storage.documents("acr-push") if outcome == "recovered" else []
    assert await storage.queues() == (["acr-push"] if events else [])
    for event in events:
        read_back(event)
        assert event["data"] == delivery
        recovered = datetime.fromisoformat(event["acrrecovered"])
        assert timedelta(0) <= datetime.now(UTC) - recovered < timedelta(minutes=1)
        again = await reconcile()
        assert (again.status, again.counts) == (0, {"already recovered": 1})
        assert await storage.ids("acr-push") == []
    assert len(events) == (1 if outcome == "recovered" else 0)


async def test_pings_and_ages_are_skipped(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run skips pings, young entries, and entries older than `ACR_RECOVERED_DAYS`."""
    registry[EVENTS].entries = [
        registry.entry(recent("ping")),
        registry.entry(recent(age=timedelta(seconds=20))),
        registry.entry(recent(age=timedelta(seconds=-20)), None),
        registry.entry(recent(age=timedelta(days=31))),
    ]
    result = await reconcile()
    assert result.status == 0
    assert result.counts == {"pings": 1, "too young": 2, "too old": 1}
    assert await storage.queues() == []
    result = await reconcile(ACR_RECOVERED_DAYS="32")
    assert result.counts == {"pings": 1, "too young": 2, "recovered": 1}


async def test_every_page_is_read(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run reads every page of the delivery log."""
    missed = [recent(action) for action in ("push", "delete", "chart_push", "quarantine") * 5]
    delivery_log = registry[EVENTS]
    delivery_log.page = 3
    delivery_log.entries = [registry.entry(delivery, None) for delivery in missed]
    result = await reconcile()
    assert result.counts == {"recovered": 20}
    assert delivery_log.asked == 7
    found = [id_ for queue in await storage.queues() for id_ in await storage.ids(queue)]
    assert sorted(found) == sorted(delivery["id"] for delivery in missed)


@pytest.mark.parametrize(
    ("uri", "registries", "source"),
    [
        ("https://app.example/api/AcrWebhook?registry=Named.example", "", "https://named.example"),
        ("https://app.example/api/AcrWebhook", "", "https://myregistry.azurecr.io"),
        (None, "", "https://myregistry.azurecr.io"),
        ("https://[", f"my-1a2b.azurecr.io={EVENTS.partition('/webhooks')[0].upper()}",
         EVENTS.partition("/webhooks")[0].upper()),
        ("https://app.example", "a.azurecr.io,myregistry-1a2b.azurecr.io",
         "https://myregistry-1a2b.azurecr.io"),
    ],
)  # fmt: skip
async def test_chart_event_gets_webhooks_registry(
    registry: Registry,
    reconcile: Reconcile,
    storage: StorageAccount,
    uri: object,
    registries: str,
    source: str,
) -> None:
    """A recovered chart event gets its registry from its webhook."""
    registry[EVENTS].entries = [registry.entry(recent("chart_push"), uri=uri)]
    if "=" in registries:
        registries = registries.replace("/SUBSCRIPTIONS", "/subscriptions").replace(
            "/RESOURCEGROUPS", "/resourceGroups"
        ).replace("/PROVIDERS/MICROSOFT.CONTAINERREGISTRY/REGISTRIES",
                  "/providers/Microsoft.ContainerRegistry/registries")  # fmt: skip
        source = registries.partition("=")[2]
    result = await reconcile(ACR_REGISTRIES=registries)
    assert result.counts == {"recovered": 1}, result.output
    [event] = await storage.documents("acr-chart-push")
    assert event["source"] == source


async def test_refused_entry_becomes_dead_letter_once(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A missed delivery that the pipeline refuses becomes a dead letter once."""
    bad = recent()
    del bad["target"]["digest"]
    bad["timestamp"] = "yesterday"
    registry[EVENTS].entries = [registry.entry(bad)]
    result = await reconcile()
    assert (result.status, result.counts) == (0, {"rejected now": 1})
    [dead_letter] = await storage.documents("acr-rejected")
    assert dead_letter["reason"] == "invalid-delivery"
    assert json.loads(dead_letter["body"]["content"]) == bad
    assert (await reconcile()).counts == {"already recovered": 1}
    assert await storage.ids("acr-rejected") == []


@pytest.mark.parametrize(
    "malformed",
    [
        5,
        None,
        "text",
        ["list"],
        {},
        {"id": "x"},
        {"id": 7, "eventRequestMessage": None},
        {"id": "x", "eventRequestMessage": "function-key-that-nobody-may-see"},
        {"id": "x", "eventRequestMessage": {"content": "text", "headers": {
            "x-functions-key": "function-key-that-nobody-may-see"}}},
        {"id": "x", "eventRequestMessage": {"content": [1]}, "eventResponseMessage": 5},
        "x-functions-key: function-key-that-nobody-may-see",
        ["function-key-that-nobody-may-see"],
        {"id": "\ud800", "eventRequestMessage": None},
        {"id": "x" * 60_000, "eventRequestMessage": None},
        {"id": "deep", "eventRequestMessage": {"content": json.loads("[" * 1100 + "]" * 1100)}},
    ],
)  # fmt: skip
async def test_malformed_entry_does_not_stop_run(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, malformed: object
) -> None:
    """A malformed entry becomes a dead letter without secrets and does not stop the run."""
    missed = recent()
    registry[EVENTS].entries = [malformed, registry.entry(missed)]
    result = await reconcile()
    assert result.status == 0
    assert result.counts == {"rejected now": 1, "recovered": 1}
    assert await storage.ids("acr-push") == [missed["id"]]
    [dead_letter] = await storage.documents("acr-rejected")
    assert violations(validator("rejected.v1.json"), dead_letter) == []
    assert dead_letter["reason"] == "invalid-record"
    assert "function-key" not in json.dumps(dead_letter)
    assert (await reconcile()).counts == {"already recovered": 2}


async def test_delivery_logged_as_text_is_recovered(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run recovers a delivery that the delivery log has as text."""
    missed = recent()
    registry[EVENTS].entries = [registry.entry(json.dumps(missed))]
    assert (await reconcile()).counts == {"recovered": 1}
    [event] = await storage.documents("acr-push")
    assert event["data"] == missed


async def test_entries_can_share_an_id(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run handles each of several entries with the same ID."""
    missed = recent()
    registry[EVENTS].entries = [
        registry.entry(missed),
        {"id": missed["id"], "eventRequestMessage": None},
        registry.entry(missed),
    ]
    result = await reconcile()
    assert result.counts == {"recovered": 1, "rejected now": 1, "listed twice": 1}
    assert await storage.ids("acr-push") == [missed["id"]]


@pytest.mark.parametrize("status", [1e999, float("nan"), [], {"a": 1}, -1, "²"])
async def test_odd_status_is_no_response(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, status: object
) -> None:
    """A run recovers an entry whose status is not an HTTP status."""
    entry = registry.entry(recent())
    entry["eventResponseMessage"]["statusCode"] = status
    registry[EVENTS].entries = [entry]
    assert (await reconcile()).counts == {"recovered": 1}


async def test_old_unlisted_ledger_entries_are_removed(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run removes old entries from the ledger that are no longer in the delivery log."""
    missed = [recent() for _ in range(3)]
    malformed = {"id": "x", "eventRequestMessage": None}
    registry[EVENTS].entries = [malformed, *(registry.entry(each) for each in missed)]
    await reconcile()
    async with TableClient.from_connection_string(storage.connection, "acrrecovered") as table:
        for row in [row async for row in table.list_entities()]:
            row["at"] = datetime.now(UTC) - timedelta(days=31)
            await table.update_entity(row)
        # The delivery log has two of them no more. The others are recovered neither now nor later.
        registry[EVENTS].entries = [malformed, registry.entry(missed[0]), registry.entry(recent())]
        since = (datetime.now(UTC) - timedelta(minutes=90)).strftime("%Y-%m-%dT%H:%M:%S")
        result = await reconcile("--since", since)
        assert result.counts == {"already recovered": 2, "recovered": 1}
        assert len([row async for row in table.list_entities()]) == 3
        assert (await reconcile()).counts == {"already recovered": 3}
