"""The ledger of recovered deliveries and the lease on a webhook, with Azurite."""

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
LEASE_DURATION = timedelta(seconds=60)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
async def ledger(registry: Registry, azurite: str) -> AsyncIterator[Ledger]:
    """The ledger of one instance."""
    async with session() as shared:
        yield Ledger(
            ConnectionString("AcrEventsStorage", azurite), shared, lease_duration=LEASE_DURATION
        )


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Advances the clock that leases read."""

    class Clock(datetime):
        ahead = timedelta()

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + cls.ahead

    def advance(by: timedelta) -> None:
        Clock.ahead += by

    monkeypatch.setattr("shared.reconcile.lease.datetime", Clock)
    return advance


@pytest.fixture
async def with_table_role(
    registry: Registry, guarded: PutInFront
) -> AsyncIterator[tuple[Ledger, list[str]]]:
    """The ledger of an app that may only use the table, and the app's refused requests."""
    refused: list[str] = []

    async def guard(request: web.Request, served: Served) -> web.Response:
        if request.method == "POST" and request.path.endswith("/Tables"):
            refused.append(request.path)
            return web.json_response({"odata.error": {"code": "AuthorizationFailure"}}, status=403)
        return await served()

    async with session() as shared:
        connection = ConnectionString("AcrEventsStorage", await guarded(guard))
        yield Ledger(connection, shared, lease_duration=LEASE_DURATION), refused


async def test_existing_table_needs_table_role(
    ledger: Ledger, with_table_role: tuple[Ledger, list[str]]
) -> None:
    """A role on the existing table is enough for the lease and the ledger."""
    await ledger.lease(Webhook.parse(f"{ID}2")).acquire_or_renew()  # creates the table
    guarded, refused = with_table_role
    lease = guarded.lease(WEBHOOK)
    assert await lease.acquire_or_renew() is False
    await guarded.add(WEBHOOK, row_key("event", "1"), NOW)
    assert len(await guarded.entries(WEBHOOK)) == 1
    await lease.release()
    assert refused == []


async def test_missing_table_error_names_role(with_table_role: tuple[Ledger, list[str]]) -> None:
    """If the app may not create the missing table, the error names the role for it."""
    guarded, refused = with_table_role
    with pytest.raises(LedgerUnavailable, match=r"403.*Storage Table Data Contributor"):
        await guarded.lease(WEBHOOK).acquire_or_renew()
    assert len(refused) == 1


def _leases(ledger: Ledger) -> tuple[Lease, Lease]:
    return ledger.lease(WEBHOOK), ledger.lease(Webhook.parse(ID.upper()))


async def test_ledger_lists_entries_until_removal(ledger: Ledger) -> None:
    """The ledger lists the entries of a webhook until they are removed."""
    assert await ledger.entries(WEBHOOK) == {}
    await ledger.lease(WEBHOOK).acquire_or_renew()
    rows = [row_key("event", str(number)) for number in range(230)]
    await asyncio.gather(*(ledger.add(WEBHOOK, name, NOW) for name in rows))
    assert await ledger.entries(WEBHOOK) == dict.fromkeys(rows, NOW)
    other = Webhook.parse(f"{ID}2")
    assert await ledger.entries(other) == {}
    await ledger.remove(WEBHOOK, rows[:201])
    assert set(await ledger.entries(WEBHOOK)) == set(rows[201:])


async def test_lease_has_one_holder(ledger: Ledger) -> None:
    """One run at a time holds a lease, and the next acquires it after the release."""
    one, other = _leases(ledger)
    assert await one.acquire_or_renew() is False  # a new lease
    assert await one.acquire_or_renew() is True
    with pytest.raises(LeaseHeldError):
        await other.acquire_or_renew()
    await other.release()  # without holding the lease
    with pytest.raises(LeaseHeldError):
        await other.acquire_or_renew()
    await one.release()
    assert await other.acquire_or_renew() is False


async def test_renewed_lease_outlives_its_duration(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    """A lease that its holder renews outlives its duration."""
    one, other = _leases(ledger)
    await one.acquire_or_renew()
    for _ in range(5):
        later(LEASE_DURATION * 0.4)
        assert await one.acquire_or_renew() is True
        with pytest.raises(LeaseHeldError):
            await other.acquire_or_renew()


async def test_reacquired_lease_reports_interruption(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    """A run that acquires a lease again reports that another run held it meanwhile."""
    one, other = _leases(ledger)
    await one.acquire_or_renew()
    later(LEASE_DURATION * 1.1)
    assert await other.acquire_or_renew() is False  # the other run did not renew its lease
    with pytest.raises(LeaseHeldError):
        await one.acquire_or_renew()
    await one.release()  # without holding the lease any more
    assert await other.acquire_or_renew() is True
    await other.release()
    assert await one.acquire_or_renew() is False


async def test_expired_lease_can_be_renewed(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    """A run can renew its expired lease if no other run acquired it."""
    one, _ = _leases(ledger)
    await one.acquire_or_renew()
    later(LEASE_DURATION * 1.1)
    assert await one.acquire_or_renew() is True


async def test_expired_lease_gets_one_holder(
    ledger: Ledger, later: Callable[[timedelta], None]
) -> None:
    """Of many runs that acquire an expired lease at once, one succeeds."""
    first, _ = _leases(ledger)
    await first.acquire_or_renew()
    later(LEASE_DURATION * 1.1)
    ends = await asyncio.gather(
        *(ledger.lease(WEBHOOK).acquire_or_renew() for _ in range(20)), return_exceptions=True
    )
    assert ends.count(False) == 1
    assert sum(isinstance(end, LeaseHeldError) for end in ends) == 19


async def test_unusable_table_error_names_table() -> None:
    """The error names the table if the app cannot reach or read it."""
    unreachable = processes.connection_string(free_port())
    wrong = unreachable.replace(processes.KEY, "bm90LXRoZS1rZXk=")
    async with session() as shared:
        for text in (unreachable, wrong):
            connection = ConnectionString("AcrEventsStorage", text)
            ledger = Ledger(connection, shared, lease_duration=timedelta(seconds=1))
            with pytest.raises(LedgerUnavailable, match="the table acrrecovered cannot be used"):
                await ledger.entries(WEBHOOK)
            with pytest.raises(LedgerUnavailable):
                await ledger.lease(WEBHOOK).acquire_or_renew()


async def test_missing_table_endpoint_names_setting() -> None:
    """An account without tables is an error that names the setting and hides its secret."""
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
def test_login_server_follows_allow_list(allowed: str, endpoint: str, expected: str) -> None:
    """A webhook's login server comes from the allow list, or else from the domain of its cloud."""
    assert login_server(WEBHOOK, AllowList.parse(allowed), endpoint) == expected
