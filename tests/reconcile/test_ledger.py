"""The table of what was recovered, and the lease on a webhook, against Azurite."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from aiohttp import web

from shared.core.registries import AllowList
from shared.core.webhooks import Webhook
from shared.reconcile.lease import Lease, LeaseHeldError
from shared.reconcile.ledger import Ledger, row_key
from shared.reconcile.runner import login_server
from shared.reconcile.table import LedgerUnavailable
from shared.storage.connections import ConnectionString, Identity, Principal
from shared.storage.transport import session
from tests.support.registry import PutInFront, Registry
from tests.support.servers import Served
from tools.localhost import processes
from tools.localhost.ports import free_port

ID = (
    "/subscriptions/0/resourceGroups/images/providers/Microsoft.ContainerRegistry"
    "/registries/Contoso/webhooks/events"
)
WEBHOOK = Webhook.parse(ID)
DURATION = timedelta(seconds=60)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
async def ledger(registry: Registry, azurite: str) -> AsyncIterator[Ledger]:
    """Those of one instance."""
    async with session() as shared:
        yield Ledger(ConnectionString("AcrEventsStorage", azurite), shared, lease_duration=DURATION)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Puts forward the clock that leases look at."""

    class Clock(datetime):
        ahead = timedelta()

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + cls.ahead

    def put_forward(by: timedelta) -> None:
        Clock.ahead += by

    monkeypatch.setattr("shared.reconcile.lease.datetime", Clock)
    return put_forward


@pytest.fixture
async def on_the_table(
    registry: Registry, guarded: PutInFront
) -> AsyncIterator[tuple[Ledger, list[str]]]:
    """Those of an app that may use the table and no more, and what it asked for all the same."""
    refused: list[str] = []

    async def guard(request: web.Request, served: Served) -> web.Response:
        if request.method == "POST" and request.path.endswith("/Tables"):
            refused.append(request.path)
            return web.json_response({"odata.error": {"code": "AuthorizationFailure"}}, status=403)
        return await served()

    async with session() as shared:
        connection = ConnectionString("AcrEventsStorage", await guarded(guard))
        yield Ledger(connection, shared, lease_duration=DURATION), refused


async def test_a_role_on_the_table_is_enough_where_the_table_is_there(
    ledger: Ledger, on_the_table: tuple[Ledger, list[str]]
) -> None:
    await ledger.lease(Webhook.parse(f"{ID}2")).acquire_or_renew()  # makes the table
    guarded, refused = on_the_table
    lease = guarded.lease(WEBHOOK)
    assert await lease.acquire_or_renew() is False
    await guarded.add(WEBHOOK, row_key("event", "1"), NOW)
    assert len(await guarded.entries(WEBHOOK)) == 1
    await lease.release()
    assert refused == []


async def test_a_table_that_is_missing_and_may_not_be_made_is_told_with_the_role(
    on_the_table: tuple[Ledger, list[str]],
) -> None:
    guarded, refused = on_the_table
    with pytest.raises(LedgerUnavailable, match=r"403.*Storage Table Data Contributor"):
        await guarded.lease(WEBHOOK).acquire_or_renew()
    assert len(refused) == 1


def _leases(ledger: Ledger) -> tuple[Lease, Lease]:
    return ledger.lease(WEBHOOK), ledger.lease(Webhook.parse(ID.upper()))


async def test_what_was_noted_is_known_until_it_is_forgotten(ledger: Ledger) -> None:
    assert await ledger.entries(WEBHOOK) == {}
    await ledger.lease(WEBHOOK).acquire_or_renew()
    rows = [row_key("event", str(number)) for number in range(230)]
    await asyncio.gather(*(ledger.add(WEBHOOK, name, NOW) for name in rows))
    assert await ledger.entries(WEBHOOK) == dict.fromkeys(rows, NOW)
    other = Webhook.parse(f"{ID}2")
    assert await ledger.entries(other) == {}
    await ledger.remove(WEBHOOK, rows[:201])
    assert set(await ledger.entries(WEBHOOK)) == set(rows[201:])


async def test_one_at_a_time_has_the_lease_and_the_next_when_it_is_let_go(
    ledger: Ledger,
) -> None:
    one, other = _leases(ledger)
    assert await one.acquire_or_renew() is False  # news
    assert await one.acquire_or_renew() is True
    with pytest.raises(LeaseHeldError):
        await other.acquire_or_renew()
    await other.release()  # of what it has not
    with pytest.raises(LeaseHeldError):
        await other.acquire_or_renew()
    await one.release()
    assert await other.acquire_or_renew() is False


async def test_a_lease_that_is_kept_outlives_its_time(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    one, other = _leases(ledger)
    await one.acquire_or_renew()
    for _ in range(5):
        later(DURATION * 0.4)
        assert await one.acquire_or_renew() is True
        with pytest.raises(LeaseHeldError):
            await other.acquire_or_renew()


async def test_a_lease_that_was_somebody_elses_in_between_is_news_again(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    one, other = _leases(ledger)
    await one.acquire_or_renew()
    later(DURATION * 1.1)
    assert await other.acquire_or_renew() is False  # one gave no sign of life
    with pytest.raises(LeaseHeldError):
        await one.acquire_or_renew()
    await one.release()  # which is the other's by now
    assert await other.acquire_or_renew() is True
    await other.release()
    assert await one.acquire_or_renew() is False


async def test_a_lease_that_nobody_took_though_it_ended_is_still_ours(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    one, _ = _leases(ledger)
    await one.acquire_or_renew()
    later(DURATION * 1.1)
    assert await one.acquire_or_renew() is True


async def test_of_many_who_take_over_at_once_one_does(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    first, _ = _leases(ledger)
    await first.acquire_or_renew()
    later(DURATION * 1.1)
    ends = await asyncio.gather(
        *(ledger.lease(WEBHOOK).acquire_or_renew() for _ in range(20)), return_exceptions=True
    )
    assert ends.count(False) == 1
    assert sum(isinstance(end, LeaseHeldError) for end in ends) == 19


async def test_a_table_that_cannot_be_reached_or_read_is_said_plainly() -> None:
    nobody = processes.connection_string(free_port())
    wrong = nobody.replace(processes.KEY, "bm90LXRoZS1rZXk=")
    async with session() as shared:
        for text in (nobody, wrong):
            connection = ConnectionString("AcrEventsStorage", text)
            ledger = Ledger(connection, shared, lease_duration=timedelta(seconds=1))
            with pytest.raises(LedgerUnavailable, match="the table acrrecovered cannot be used"):
                await ledger.entries(WEBHOOK)
            with pytest.raises(LedgerUnavailable):
                await ledger.lease(WEBHOOK).acquire_or_renew()


async def test_an_account_without_tables_is_named_by_its_setting() -> None:
    principal = Principal(managed=True, client_id=None)
    async with session() as shared:
        for connection in (
            ConnectionString("AcrEventsStorage", "QueueEndpoint=https://q.example/;"
                             "SharedAccessSignature=sv=1&sig=secret"),
            Identity("AcrEventsStorage", "https://q.example/", None, principal),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"^AcrEventsStorage") as caught:
                Ledger(connection, shared, lease_duration=timedelta(seconds=1))
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("allowed", "endpoint", "expected"),
    [
        ("", "https://management.azure.com", "contoso.azurecr.io"),
        ("", "https://management.chinacloudapi.cn", "contoso.azurecr.cn"),
        ("", "https://management.usgovcloudapi.net", "contoso.azurecr.us"),
        ("", "https://127.0.0.1:9", "contoso.azurecr.io"),
        ("fabrikam.azurecr.io", "https://management.azure.com", "contoso.azurecr.io"),
        ("contoso-1a2b.azurecr.io,x.io", "https://management.azure.com", "contoso-1a2b.azurecr.io"),
        (f"my.example={ID[: ID.index('/webhooks')]}", "https://management.azure.com", "my.example"),
        ("contoso-1.azurecr.io,contoso-2.azurecr.io", "https://x", "contoso.azurecr.io"),
    ],
)
def test_the_login_server_of_a_webhook_is_the_listed_one_or_the_usual_one_of_its_cloud(
    allowed: str, endpoint: str, expected: str
) -> None:
    assert login_server(WEBHOOK, AllowList.parse(allowed), endpoint) == expected
