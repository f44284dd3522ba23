"""The User-Agent header of requests to Azure's services."""

import asyncio
import time
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from shared.core.webhooks import Webhook
from shared.reconcile.ledger import Ledger
from shared.reconcile.management import Management
from shared.reconcile.page import DeliveryLogUnavailable
from shared.reconcile.table import LedgerUnavailable
from shared.storage.connections import ConnectionString, Principal
from shared.storage.errors import StorageUnavailable
from shared.storage.queues import StorageQueues
from shared.storage.transport import USER_AGENT
from tests.support.servers import Listen

WEBHOOK = Webhook.parse(
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/images/providers"
    "/Microsoft.ContainerRegistry/registries/myregistry/webhooks/events"
)


class Service:
    """Refuses each request and stores its User-Agent; issues tokens."""

    def __init__(self) -> None:
        self.agents: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        """Responds with a status that no client retries."""
        self.agents.append(request.headers["User-Agent"])
        if request.path != "/token":
            return web.Response(status=403)
        token = {"access_token": "a token", "expires_on": str(int(time.time()) + 3600)}
        return web.json_response(token | {"token_type": "Bearer", "resource": "r"})


@pytest.fixture
def service() -> Service:
    return Service()


def _account(port: int) -> ConnectionString:
    return ConnectionString(
        "AcrEventsStorage",
        f"AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:{port}/a;"
        f"TableEndpoint=http://127.0.0.1:{port}/a",
    )


async def test_queue_client_sends_version(service: Service, listen: Listen) -> None:
    """A request to Azure Storage queues begins its User-Agent with the app and its version."""
    queues = StorageQueues(_account(await listen(service.handle)))
    with pytest.raises(StorageUnavailable):
        await queues.send("acr-push", b"{}", asyncio.get_running_loop().time() + 5)
    await queues.close()
    _require_version(service, "", requests=1)


async def test_table_client_sends_version(service: Service, listen: Listen) -> None:
    """A request to Azure Storage tables begins its User-Agent with the app and its version."""
    account = _account(await listen(service.handle))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(LedgerUnavailable):
            await Ledger(account, session, lease_duration=timedelta(seconds=60)).entries(WEBHOOK)
    _require_version(service, "azsdk-python-data-tables/", requests=1)


async def test_management_client_sends_version(
    service: Service, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests to the management API, and for its token, begin with the app and its version."""
    tokens = Service()
    port = await listen(tokens.handle)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{port}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "the platform's")
    endpoint = f"https://127.0.0.1:{await listen(service.handle, tls=True)}"
    # The certificate is the test's own.
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        management = Management(endpoint, Principal(managed=True, client_id=None), session)
        with pytest.raises(DeliveryLogUnavailable):
            await anext(management.pages(WEBHOOK))
    _require_version(service, "azsdk-python-mgmt-containerregistry/", requests=1)
    _require_version(tokens, "", requests=1)


def _require_version(service: Service, sdk: str, *, requests: int) -> None:
    """Each request names the app first, then the SDK where one makes it."""
    assert len(service.agents) == requests
    for agent in service.agents:
        assert agent.startswith(f"{USER_AGENT} {sdk}".strip())
