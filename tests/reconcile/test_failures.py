"""Runs while the management API, Storage, or the ledger fails."""

import asyncio
from contextlib import nullcontext

import pytest
from aiohttp import web

from shared.reconcile.management import ACTION, Management
from shared.reconcile.page import DeliveryLogUnavailable
from shared.storage.connections import Principal
from shared.storage.transport import session
from tests.support.deliveries import recent
from tests.support.registry import CONTOSO_EVENTS, EVENTS, Reconcile, Registry
from tests.support.servers import Handler
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port


def _responds(status: int, headers: dict[str, str] | None = None, body: str = "{}") -> Handler:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(
            status=status, headers=headers, body=body, content_type="application/json"
        )

    return respond


async def _stall(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        (_responds(403), "403: the app's identity may not read the delivery log: give it a role "
                         f"with the action {ACTION} on the registry"),
        (_responds(401), "401: the app's identity may not read the delivery log"),
        (_responds(404), "404: there is no such webhook: correct its resource id in ACR_WEBHOOKS"),
        (_responds(429, {"Retry-After": "17"}), "429: too many requests for 17 seconds"),
        (_responds(500), "500: the next run tries again"),
        (_responds(200, body="{"), "the response cannot be read"),
        (_responds(200, body="[]"), "the response cannot be read"),
        (_responds(200, body='{"value": null}'), "the response cannot be read"),
        (_stall, "no response within 1 seconds: the next run tries again"),
    ],
)  # fmt: skip
async def test_unreadable_delivery_log_is_named(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, fails: Handler, error: str
) -> None:
    """A run names a webhook whose delivery log it cannot read, and continues with the others."""
    registry[CONTOSO_EVENTS].fails = fails
    missed = recent()
    registry[EVENTS].entries = [registry.entry(missed)]
    result = await reconcile(
        ACR_WEBHOOKS=f"{CONTOSO_EVENTS},{EVENTS}",
        patch="import shared.reconcile.management as m; m._PAGE_SECONDS = 1",
    )
    assert result.status == 1
    assert f"contoso/events: {error}" in result.output
    assert result.counts["recovered"] == 1
    assert await storage.ids("acr-push") == [missed["id"]]


async def test_later_run_recovers_unstored_events(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A later run recovers the events that Storage does not take."""
    missed = [recent() for _ in range(100)]
    registry[EVENTS].entries = [registry.entry(delivery) for delivery in missed]
    dead = free_port()
    table = storage.connection.partition("TableEndpoint=")[2]
    without_queues = (
        f"{processes.connection_string(dead).partition('TableEndpoint=')[0]}TableEndpoint={table}"
    )
    result = await reconcile(AcrEventsStorage=without_queues, ACR_BUDGET_SECONDS="2")
    assert result.status == 1
    assert "Storage did not store all of them: acr-push: Storage cannot be reached" in result.output
    assert result.counts == {"not stored": 100}
    assert "acr_lost_delivery" not in result.output  # the delivery log has them
    result = await reconcile()
    assert (result.status, result.counts) == (0, {"recovered": 100})
    assert sorted(await storage.ids("acr-push")) == sorted(d["id"] for d in missed)


async def test_unusable_table_loses_nothing(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run reports a table that it cannot use, and a later run recovers the deliveries."""
    missed = recent()
    registry[EVENTS].entries = [registry.entry(missed)]
    queues = storage.connection.partition("TableEndpoint=")[0]
    dead = f"{queues}TableEndpoint=http://127.0.0.1:{free_port()}/{processes.ACCOUNT};"
    result = await reconcile(AcrEventsStorage=dead)
    assert result.status == 1
    assert "the table acrrecovered cannot be used" in result.output
    assert (await reconcile()).counts == {"recovered": 1}
    assert await storage.ids("acr-push") == [missed["id"]]


async def test_failing_queue_does_not_block_others(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run stops sends to a failing queue and recovers the events for other queues."""
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


async def test_failing_events_do_not_block_others(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """Events that fail with an internal error do not block the events behind them."""
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


async def test_failed_ledger_write_repeats_event(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run reports an event that it cannot add to the ledger, and the event can arrive twice."""
    missed = recent()
    registry[EVENTS].entries = [registry.entry(missed)]
    patch = (
        "from shared.reconcile.ledger import Ledger\n"
        "from shared.reconcile.table import LedgerUnavailable\n"
        "async def add(*_, **__): raise LedgerUnavailable('the table is away')\n"
        "Ledger.add = add"
    )
    result = await reconcile(patch=patch)
    assert (result.status, result.counts) == (1, {"recovered": 1})
    assert "the table is away" in result.output
    assert (await reconcile()).counts == {"recovered": 1}
    assert await storage.ids("acr-push") == [missed["id"]] * 2


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
        ("https://management.azure.com", "https://evil.example\\@management.azure.com/x", True),
        ("https://management.azure.com", "https://management.azure.com\\@evil.example/x", False),
        ("https://management.azure.com", "https://[/x", False),
        ("https://management.azure.com", "/x", False),
    ],
)
async def test_next_page_requires_same_server(endpoint: str, link: str, same: bool) -> None:
    """A link to a next page is accepted only if it leads to the same server."""
    async with session() as shared:
        management = Management(endpoint, Principal(managed=True, client_id=None), shared)
        with nullcontext() if same else pytest.raises(DeliveryLogUnavailable, match="another"):
            assert management.on_same_server(link).startswith(f"{endpoint}/x")


async def test_next_page_elsewhere_is_not_requested(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run does not request a next page on another server."""
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
