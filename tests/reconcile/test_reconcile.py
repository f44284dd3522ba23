"""Reconciling, by the command and through the real SDKs, with a stand-in of the management API."""

import asyncio
import json
import signal
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.core.schemas import validator
from shared.core.violations import violations
from shared.reconcile.management import ACTION, DeliveryLogUnavailable, SameOrigin
from tests.support.commands import Command
from tests.support.deliveries import read_back, recent
from tests.support.registry import CONTOSO_EVENTS, EVENTS, Reconcile, Registry
from tests.support.servers import Handler
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port

PROBLEM = '{"type": "https://acr-webhook.example/problems/'


@pytest.mark.parametrize(
    ("status", "answer", "name"),
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
        ("nonsense", "", "recovered"),
        (None, "", "recovered"),
    ],
)
async def test_what_arrived_is_left_alone_and_what_did_not_is_recovered_once(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount,
    status: str | None, answer: str, name: str,
) -> None:  # fmt: skip
    delivery = recent() | {"future": [1, {"x": None}]}
    registry[EVENTS].entries = [registry.entry(delivery, status, answer)]
    result = await reconcile()
    assert (result.status, result.counts) == (0, {name: 1}), result.output
    events = await storage.documents("acr-push") if name == "recovered" else []
    assert await storage.queues() == (["acr-push"] if events else [])
    for event in events:
        read_back(event)
        assert event["data"] == delivery
        recovered = datetime.fromisoformat(event["acrrecovered"])
        assert timedelta(0) <= datetime.now(UTC) - recovered < timedelta(minutes=1)
        again = await reconcile()
        assert (again.status, again.counts) == (0, {"already recovered": 1})
        assert await storage.ids("acr-push") == []
    assert len(events) == (1 if name == "recovered" else 0)


async def test_pings_and_young_entries_wait_and_old_ones_are_left_alone(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
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
    missed = [recent(action) for action in ("push", "delete", "chart_push", "quarantine") * 5]
    record = registry[EVENTS]
    record.page = 3
    record.entries = [registry.entry(delivery, None) for delivery in missed]
    result = await reconcile()
    assert result.counts == {"recovered": 20}
    assert record.asked == 7
    found = [id_ for queue in await storage.queues() for id_ in await storage.ids(queue)]
    assert sorted(found) == sorted(delivery["id"] for delivery in missed)


@pytest.mark.parametrize(
    ("uri", "registries", "source"),
    [
        ("https://app.example/api/AcrWebhook?registry=Told.example", "", "https://told.example"),
        ("https://app.example/api/AcrWebhook", "", "https://myregistry.azurecr.io"),
        (None, "", "https://myregistry.azurecr.io"),
        ("https://[", f"my-1a2b.azurecr.io={EVENTS.partition('/webhooks')[0].upper()}",
         EVENTS.partition("/webhooks")[0].upper()),
        ("https://app.example", "a.azurecr.io,myregistry-1a2b.azurecr.io",
         "https://myregistry-1a2b.azurecr.io"),
    ],
)  # fmt: skip
async def test_charts_get_their_registry_from_the_webhook(
    registry: Registry,
    reconcile: Reconcile,
    storage: StorageAccount,
    uri: object,
    registries: str,
    source: str,
) -> None:
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


async def test_what_the_road_refuses_is_kept_and_not_kept_again(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    bad = recent()
    del bad["target"]["digest"]
    bad["timestamp"] = "yesterday"
    registry[EVENTS].entries = [registry.entry(bad)]
    result = await reconcile()
    assert (result.status, result.counts) == (0, {"rejected now": 1})
    [record] = await storage.documents("acr-rejected")
    assert record["reason"] == "invalid-delivery"
    assert json.loads(record["body"]["content"]) == bad
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
async def test_a_malformed_entry_is_kept_without_secrets_and_does_not_stop_the_round(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, malformed: object
) -> None:
    missed = recent()
    registry[EVENTS].entries = [malformed, registry.entry(missed)]
    result = await reconcile()
    assert result.status == 0
    assert result.counts == {"rejected now": 1, "recovered": 1}
    assert await storage.ids("acr-push") == [missed["id"]]
    [record] = await storage.documents("acr-rejected")
    assert violations(validator("rejected.v1.json"), record) == []
    assert record["reason"] == "invalid-record"
    assert "function-key" not in json.dumps(record)
    assert (await reconcile()).counts == {"already recovered": 2}


def _answers(status: int, headers: dict[str, str] | None = None, body: str = "{}") -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            status=status, headers=headers, body=body, content_type="application/json"
        )

    return answer


async def _never(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (_answers(403), "403: the app's identity may not read the delivery log: give it a role "
                        f"with the action {ACTION} on the registry"),
        (_answers(401), "401: the app's identity may not read the delivery log"),
        (_answers(404), "404: there is no such webhook: correct its resource id in ACR_WEBHOOKS"),
        (_answers(429, {"Retry-After": "17"}), "429: too many requests for 17 seconds"),
        (_answers(500), "500: the next run asks again"),
        (_answers(200, body="{"), "the response cannot be read"),
        (_answers(200, body="[]"), "the response cannot be read"),
        (_answers(200, body='{"value": null}'), "the response cannot be read"),
        (_never, "no response within 1 seconds: the next run asks again"),
    ],
)  # fmt: skip
async def test_a_webhook_whose_record_cannot_be_had_is_named_and_the_others_go_on(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, fails: Handler, says: str
) -> None:
    registry[CONTOSO_EVENTS].fails = fails
    missed = recent()
    registry[EVENTS].entries = [registry.entry(missed)]
    result = await reconcile(
        ACR_WEBHOOKS=f"{CONTOSO_EVENTS},{EVENTS}",
        patch="import shared.reconcile.management as m; m._PAGE_SECONDS = 1",
    )
    assert result.status == 1
    assert f"contoso/events: {says}" in result.output
    assert result.counts["recovered"] == 1
    assert await storage.ids("acr-push") == [missed["id"]]


async def test_what_storage_does_not_take_is_recovered_by_a_later_round(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = [recent() for _ in range(100)]
    registry[EVENTS].entries = [registry.entry(delivery) for delivery in missed]
    dead = free_port()
    table = storage.connection.partition("TableEndpoint=")[2]
    nowhere = (
        f"{processes.connection_string(dead).partition('TableEndpoint=')[0]}TableEndpoint={table}"
    )
    result = await reconcile(AcrEventsStorage=nowhere, ACR_BUDGET_SECONDS="2")
    assert result.status == 1
    assert "Storage did not take all of them: acr-push: Storage cannot be reached" in result.output
    assert result.counts == {"not stored": 100}
    assert "acr_lost_delivery" not in result.output  # the record has them
    result = await reconcile()
    assert (result.status, result.counts) == (0, {"recovered": 100})
    assert sorted(await storage.ids("acr-push")) == sorted(d["id"] for d in missed)


async def test_a_table_that_cannot_be_used_is_said_and_nothing_is_lost(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = recent()
    registry[EVENTS].entries = [registry.entry(missed)]
    queues = storage.connection.partition("TableEndpoint=")[0]
    dead = f"{queues}TableEndpoint=http://127.0.0.1:{free_port()}/{processes.ACCOUNT};"
    result = await reconcile(AcrEventsStorage=dead)
    assert result.status == 1
    assert "the table acrrecovered cannot be used" in result.output
    assert (await reconcile()).counts == {"recovered": 1}
    assert await storage.ids("acr-push") == [missed["id"]]


async def test_a_dry_run_says_what_was_missed_and_changes_nothing(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    registry[EVENTS].entries = [registry.entry(recent()) for _ in range(3)]
    result = await reconcile("--dry-run")
    assert (result.status, result.counts) == (1, {"missed": 3})
    assert "Dry run: nothing was changed" in result.output
    assert await storage.queues() == []
    async with TableServiceClient.from_connection_string(storage.connection) as tables:
        assert [table async for table in tables.list_tables()] == []
    assert (await reconcile()).counts == {"recovered": 3}
    assert (await reconcile("--dry-run")).counts == {"already recovered": 3}


async def test_since_leaves_earlier_deliveries_alone(
    registry: Registry, reconcile: Reconcile
) -> None:
    registry[EVENTS].entries = [registry.entry(recent(age=timedelta(hours=h))) for h in (1, 3, 5)]
    since = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    result = await reconcile("--since", since)
    assert result.counts == {"recovered": 1, "too old": 2}


async def test_a_webhook_can_be_named_by_hand(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = recent("chart_delete")
    registry[CONTOSO_EVENTS].entries = [registry.entry(missed, uri="https://app.example")]
    result = await reconcile("--webhook", CONTOSO_EVENTS, ACR_WEBHOOKS="")
    assert result.counts == {"recovered": 1}
    [event] = await storage.documents("acr-chart-delete")
    assert event["acrregistry"] == "contoso.azurecr.io"


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
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
async def test_settings_that_cannot_be_used_are_named(
    reconcile: Reconcile, arguments: list[str], settings: dict[str, str], says: str
) -> None:
    result = await reconcile(*arguments, **settings)
    assert result.status == 1
    assert says in result.output


async def test_two_at_once_do_not_do_the_work_twice(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = [recent() for _ in range(300)]
    registry[EVENTS].entries = [registry.entry(delivery) for delivery in missed]
    results = await asyncio.gather(*(reconcile() for _ in range(3)))
    assert sum(result.counts.get("recovered", 0) for result in results) == 300
    for result in results:
        busy = "Another run holds this webhook's lease." in result.output
        assert result.status == (1 if busy else 0)
    assert sorted(await storage.ids("acr-push")) == sorted(d["id"] for d in missed)


async def test_what_was_recovered_is_forgotten_when_it_is_old_and_in_no_record_any_more(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = [recent() for _ in range(3)]
    malformed = {"id": "x", "eventRequestMessage": None}
    registry[EVENTS].entries = [malformed, *(registry.entry(each) for each in missed)]
    await reconcile()
    async with TableClient.from_connection_string(storage.connection, "acrrecovered") as table:
        for row in [row async for row in table.list_entities()]:
            row["at"] = datetime.now(UTC) - timedelta(days=31)
            await table.update_entity(row)
        # Two are not listed any more. What is, comes again neither now nor later.
        registry[EVENTS].entries = [malformed, registry.entry(missed[0]), registry.entry(recent())]
        since = (datetime.now(UTC) - timedelta(minutes=90)).strftime("%Y-%m-%dT%H:%M:%S")
        result = await reconcile("--since", since)
        assert result.counts == {"already recovered": 2, "recovered": 1}
        assert len([row async for row in table.list_entities()]) == 3
        assert (await reconcile()).counts == {"already recovered": 3}


async def test_a_delivery_recorded_as_text_is_read_too(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = recent()
    registry[EVENTS].entries = [registry.entry(json.dumps(missed))]
    assert (await reconcile()).counts == {"recovered": 1}
    [event] = await storage.documents("acr-push")
    assert event["data"] == missed


async def test_entries_of_one_id_do_not_hide_each_other(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
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
async def test_an_odd_status_is_no_answer(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, status: object
) -> None:
    entry = registry.entry(recent())
    entry["eventResponseMessage"]["statusCode"] = status
    registry[EVENTS].entries = [entry]
    assert (await reconcile()).counts == {"recovered": 1}


async def test_a_queue_that_fails_does_not_keep_events_for_others_waiting(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    behind = recent("delete")
    entries = [registry.entry(recent()) for _ in range(200)]
    registry[EVENTS].entries = [*entries, registry.entry(behind)]
    patch = (
        "from shared.storage.queues import StorageQueues\n"
        "from shared.storage.errors import StorageUnavailable\n"
        "send, tried = StorageQueues.send, []\n"
        "async def failing(self, queue, *more):\n"
        "    if queue != 'acr-push': return await send(self, queue, *more)\n"
        "    tried.append(queue); assert len(tried) < 20\n"
        "    raise StorageUnavailable(queue, TimeoutError())\n"
        "StorageQueues.send = failing"
    )
    result = await reconcile(patch=patch)
    assert (result.status, result.counts) == (1, {"not stored": 200, "recovered": 1})
    assert await storage.ids("acr-delete") == [behind["id"]]


@pytest.mark.parametrize(
    ("endpoint", "link", "same"),
    [
        ("https://management.azure.com", "https://management.azure.com:443/x?y", True),
        ("https://management.azure.com:443", "https://MANAGEMENT.azure.com/x", True),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443/x", True),
        ("https://management.azure.com", "http://management.azure.com/x", False),
        ("https://management.azure.com", "https://management.azure.com:8443/x", False),
        ("https://management.azure.com", "https://management.azure.com@evil.example/x", False),
        ("https://management.azure.com", "https://management.azure.com.evil.example/x", False),
        ("https://management.azure.com", "/x", False),
    ],
)
def test_a_next_page_is_asked_for_where_it_is_on_the_same_server_however_that_is_written(
    endpoint: str, link: str, same: bool
) -> None:
    request: PipelineRequest[Any] = PipelineRequest(HttpRequest("GET", link), PipelineContext(None))
    with nullcontext() if same else pytest.raises(DeliveryLogUnavailable, match="another server"):
        SameOrigin(endpoint).on_request(request)


async def test_a_next_page_on_another_server_is_not_asked_for(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = recent()

    async def elsewhere(_: web.Request) -> web.Response:
        link = f"https://localhost:{registry.port}{EVENTS}/listEvents"
        return web.json_response({"value": [registry.entry(missed)], "nextLink": link})

    registry[EVENTS].fails = elsewhere
    result = await reconcile()
    assert result.status == 1
    assert "the link to its next page leads to another server and was not followed" in result.output
    assert registry[EVENTS].asked == 1
    assert await storage.ids("acr-push") == [missed["id"]]


async def test_an_event_that_could_not_be_noted_is_said_and_may_come_twice(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    missed = recent()
    registry[EVENTS].entries = [registry.entry(missed)]
    patch = (
        "from shared.reconcile.ledger import Ledger\n"
        "from shared.reconcile.table import LedgerUnavailable\n"
        "async def add(*_): raise LedgerUnavailable('the table is away')\n"
        "Ledger.add = add"
    )
    result = await reconcile(patch=patch)
    assert (result.status, result.counts) == (1, {"recovered": 1})
    assert "the table is away" in result.output
    assert (await reconcile()).counts == {"recovered": 1}
    assert await storage.ids("acr-push") == [missed["id"]] * 2


async def test_a_round_that_lasts_too_long_ends_and_says_so(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    registry[EVENTS].entries = [registry.entry(recent()) for _ in range(3)]
    patch = (
        "from shared.reconcile.runner import Reconciliation\n"
        "init = Reconciliation.__init__\n"
        "def short(self, *a, **k): init(self, *a, **{**k, 'seconds': -1})\n"
        "Reconciliation.__init__ = short"
    )
    result = await reconcile(patch=patch)
    assert (result.status, result.counts) == (1, {"none": 0})
    assert "The time of this run is over. The next run does the rest." in result.output


async def test_events_that_fail_do_not_keep_those_behind_them_waiting(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:

    entries = [registry.entry(recent()) for _ in range(20)]
    behind = recent("delete")
    registry[EVENTS].entries = [*entries, registry.entry(behind)]
    patch = (
        "from shared.pipeline import Pipeline\n"
        "whole = Pipeline.recover\n"
        "async def recover(self, delivery, problem=None):\n"
        "    if b'\"push\"' in delivery.body: raise KeyError('secret')\n"
        "    return await whole(self, delivery, problem)\n"
        "Pipeline.recover = recover"
    )
    result = await reconcile(patch=patch)
    assert (result.status, result.counts) == (1, {"failed": 20, "recovered": 1})
    assert "secret" not in result.output
    assert await storage.ids("acr-delete") == [behind["id"]]
    assert (await reconcile()).counts == {"recovered": 20, "already recovered": 1}


async def test_stopped_in_the_middle_it_says_what_was_done(
    registry: Registry, storage: StorageAccount
) -> None:
    record = registry[EVENTS]
    record.page = 5
    record.entries = [registry.entry(recent()) for _ in range(6)]
    asked = asyncio.Event()
    whole = registry.list_events

    async def slow_at_the_second_page(request: web.Request) -> web.StreamResponse:
        if "$skiptoken" not in request.query:
            record.fails = None
            answer: web.StreamResponse = await whole(request)
            record.fails = slow_at_the_second_page
            return answer
        asked.set()
        await asyncio.sleep(60)
        raise AssertionError

    record.fails = slow_at_the_second_page
    command = Command("reconcile", settings=registry.settings)
    await asyncio.wait_for(asked.wait(), 20)
    command.stop(signal.SIGINT)
    ended = await command.ended()
    assert ended.status == 130
    assert [cell.strip() for cell in ended.output.split("│")].count("5") == 1
    assert len(await storage.documents("acr-push")) == 5
