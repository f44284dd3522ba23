"""The table of what was recovered, and the lease on a webhook, against Azurite."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from aiohttp import web

from shared.core.registries import AllowList
from shared.core.webhooks import Webhook
from shared.reconcile.ledger import Lease, Recoveries, TableUnavailable, Taken, row
from shared.reconcile.runner import login_server
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
HOLD = timedelta(seconds=60)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
async def recoveries(registry: Registry, azurite: str) -> AsyncIterator[Recoveries]:
    """Those of one instance."""
    async with session() as shared:
        yield Recoveries(ConnectionString("AcrEventsStorage", azurite), shared, hold=HOLD)


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

    monkeypatch.setattr("shared.reconcile.ledger.datetime", Clock)
    return put_forward


@pytest.fixture
async def on_the_table(
    registry: Registry, guarded: PutInFront
) -> AsyncIterator[tuple[Recoveries, list[str]]]:
    """Those of an app that may use the table and no more, and what it asked for all the same."""
    refused: list[str] = []

    async def guard(request: web.Request, served: Served) -> web.Response:
        if request.method == "POST" and request.path.endswith("/Tables"):
            refused.append(request.path)
            return web.json_response({"odata.error": {"code": "AuthorizationFailure"}}, status=403)
        return await served()

    async with session() as shared:
        connection = ConnectionString("AcrEventsStorage", await guarded(guard))
        yield Recoveries(connection, shared, hold=HOLD), refused


async def test_a_role_on_the_table_is_enough_where_the_table_is_there(
    recoveries: Recoveries, on_the_table: tuple[Recoveries, list[str]]
) -> None:
    await recoveries.lease(Webhook.parse(f"{ID}2")).keep()  # makes the table
    guarded, refused = on_the_table
    lease = guarded.lease(WEBHOOK)
    assert await lease.keep() is False
    await guarded.note(WEBHOOK, row("event", "1"), NOW)
    assert len(await guarded.known(WEBHOOK)) == 1
    await lease.let_go()
    assert refused == []


async def test_a_table_that_is_missing_and_may_not_be_made_is_told_with_the_role(
    on_the_table: tuple[Recoveries, list[str]],
) -> None:
    guarded, refused = on_the_table
    with pytest.raises(TableUnavailable, match=r"403.*Storage Table Data Contributor"):
        await guarded.lease(WEBHOOK).keep()
    assert len(refused) == 1


def _leases(recoveries: Recoveries) -> tuple[Lease, Lease]:
    return recoveries.lease(WEBHOOK), recoveries.lease(Webhook.parse(ID.upper()))


async def test_what_was_noted_is_known_until_it_is_forgotten(recoveries: Recoveries) -> None:
    assert await recoveries.known(WEBHOOK) == {}
    await recoveries.lease(WEBHOOK).keep()
    rows = [row("event", str(number)) for number in range(230)]
    await asyncio.gather(*(recoveries.note(WEBHOOK, name, NOW) for name in rows))
    assert await recoveries.known(WEBHOOK) == dict.fromkeys(rows, NOW)
    other = Webhook.parse(f"{ID}2")
    assert await recoveries.known(other) == {}
    await recoveries.forget(WEBHOOK, rows[:201])
    assert set(await recoveries.known(WEBHOOK)) == set(rows[201:])


async def test_one_at_a_time_has_the_lease_and_the_next_when_it_is_let_go(
    recoveries: Recoveries,
) -> None:
    one, other = _leases(recoveries)
    assert await one.keep() is False  # news
    assert await one.keep() is True
    with pytest.raises(Taken):
        await other.keep()
    await other.let_go()  # of what it has not
    with pytest.raises(Taken):
        await other.keep()
    await one.let_go()
    assert await other.keep() is False


async def test_a_lease_that_is_kept_outlives_its_time(
    recoveries: Recoveries, later: Callable[[timedelta], None]
) -> None:
    one, other = _leases(recoveries)
    await one.keep()
    for _ in range(5):
        later(HOLD * 0.4)
        assert await one.keep() is True
        with pytest.raises(Taken):
            await other.keep()


async def test_a_lease_that_was_somebody_elses_in_between_is_news_again(
    recoveries: Recoveries, later: Callable[[timedelta], None]
) -> None:
    one, other = _leases(recoveries)
    await one.keep()
    later(HOLD * 1.1)
    assert await other.keep() is False  # one gave no sign of life
    with pytest.raises(Taken):
        await one.keep()
    await one.let_go()  # which is the other's by now
    assert await other.keep() is True
    await other.let_go()
    assert await one.keep() is False


async def test_a_lease_that_nobody_took_though_it_ended_is_still_ours(
    recoveries: Recoveries, later: Callable[[timedelta], None]
) -> None:
    one, _ = _leases(recoveries)
    await one.keep()
    later(HOLD * 1.1)
    assert await one.keep() is True


async def test_of_many_who_take_over_at_once_one_does(
    recoveries: Recoveries, later: Callable[[timedelta], None]
) -> None:
    first, _ = _leases(recoveries)
    await first.keep()
    later(HOLD * 1.1)
    ends = await asyncio.gather(
        *(recoveries.lease(WEBHOOK).keep() for _ in range(20)), return_exceptions=True
    )
    assert ends.count(False) == 1
    assert sum(isinstance(end, Taken) for end in ends) == 19


async def test_a_table_that_cannot_be_reached_or_read_is_said_plainly() -> None:
    nobody = processes.connection_string(free_port())
    wrong = nobody.replace(processes.KEY, "bm90LXRoZS1rZXk=")
    async with session() as shared:
        for text in (nobody, wrong):
            connection = ConnectionString("AcrEventsStorage", text)
            recoveries = Recoveries(connection, shared, hold=timedelta(seconds=1))
            with pytest.raises(TableUnavailable, match="the table acrrecovered cannot be used"):
                await recoveries.known(WEBHOOK)
            with pytest.raises(TableUnavailable):
                await recoveries.lease(WEBHOOK).keep()


async def test_an_account_without_tables_is_named_by_its_setting() -> None:
    principal = Principal(managed=True, client_id=None)
    async with session() as shared:
        for connection in (
            ConnectionString("AcrEventsStorage", "QueueEndpoint=https://q.example/;"
                             "SharedAccessSignature=sv=1&sig=secret"),
            Identity("AcrEventsStorage", "https://q.example/", None, principal),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"^AcrEventsStorage") as caught:
                Recoveries(connection, shared, hold=timedelta(seconds=1))
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
