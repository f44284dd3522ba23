"""Endpoints that redirect, lead elsewhere, or respond with what could forge a log line."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import aiohttp
import pytest
from aiohttp import web

from shared.core.routing import Routes
from shared.core.webhooks import Webhook
from shared.monitoring import queue_depth
from shared.reconcile.ledger import Ledger
from shared.reconcile.table import LedgerUnavailable
from shared.storage.connections import ConnectionString, Identity, Principal
from shared.storage.credentials import STORAGE_SCOPE, TokenUnavailable, credential
from shared.storage.errors import StorageUnavailable
from shared.storage.queues import StorageQueues
from shared.storage.transport import session, transport
from tests.support import hostile
from tests.support.registry import webhook_id
from tests.support.servers import Handler, Listen
from tools.localhost import processes

REDIRECTS = [300, 301, 302, 303, 304, 307, 308, 399]
WEBHOOK = Webhook.parse(webhook_id())


class Elsewhere:
    """Another server, that responds as if it were Storage. Nobody may call it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        """Notes the call."""
        self.calls.append(f"{request.method} {request.path}")
        body = (
            "<QueueMessagesList><QueueMessage><MessageId>1</MessageId></QueueMessage>"
            "</QueueMessagesList>"
        )
        return web.Response(status=201, text=body, content_type="application/xml")


@pytest.fixture
async def elsewhere(listen: Listen) -> AsyncIterator[tuple[Elsewhere, int]]:
    server = Elsewhere()
    port = await listen(server.handle)
    yield server, port
    assert server.calls == []


def _soon(seconds: float = 2) -> float:
    return asyncio.get_running_loop().time() + seconds


def _account(port: int) -> ConnectionString:
    """An account whose queues and tables are on `port`."""
    tables = f"TableEndpoint=http://127.0.0.1:{port}/{processes.ACCOUNT};"
    own = processes.connection_string(port).partition("TableEndpoint=")[0]
    return ConnectionString("AcrEventsStorage", own + tables)


@pytest.mark.parametrize("status", REDIRECTS)
async def test_redirect_by_storage_is_failure(
    status: int, elsewhere: tuple[Elsewhere, int], listen: Listen
) -> None:
    """Queues that redirect are a failure for each operation, and no request goes elsewhere."""
    port = await listen(hostile.redirects(status, elsewhere[1]))
    queues = StorageQueues(_account(port))
    why = f"its response {status} is a redirect, which is not followed"
    for call in (
        queues.send("a", b"x", _soon()),
        queues.probe("a", _soon()),
        queues.depth("a", _soon()),
    ):
        with pytest.raises(StorageUnavailable, match=why):
            await call
    await queues.close()


async def test_redirected_creation_is_failure(
    elsewhere: tuple[Elsewhere, int], listen: Listen
) -> None:
    """A queue that cannot be created, because Storage redirects, fails the send."""
    redirect = hostile.redirects(307, elsewhere[1])
    missing = hostile.responds(404, headers={"x-ms-error-code": "QueueNotFound"})

    async def respond(request: web.Request) -> web.StreamResponse:
        return await (redirect if request.method == "PUT" else missing)(request)

    queues = StorageQueues(_account(await listen(respond)))
    with pytest.raises(StorageUnavailable, match="307 is a redirect"):
        await queues.send("acr-push", b"x", _soon())
    await queues.close()


async def test_redirected_table_is_failure(
    elsewhere: tuple[Elsewhere, int], listen: Listen
) -> None:
    """A table that redirects is a failure, and no request goes elsewhere."""
    account = _account(await listen(hostile.redirects(307, elsewhere[1])))
    async with session() as shared:
        ledger = Ledger(account, shared, lease_duration=timedelta(seconds=60))
        with pytest.raises(LedgerUnavailable, match="307 is a redirect, which is not followed"):
            await ledger.entries(WEBHOOK)
        with pytest.raises(LedgerUnavailable, match="307 is a redirect"):
            await ledger.lease(WEBHOOK).acquire_or_renew()


@pytest.mark.parametrize("kind", ["gzip bomb", "entities", "elements", "endless"])
async def test_hostile_table_is_unavailable(kind: str, listen: Listen) -> None:
    """A table whose response is beyond the bounds is a failure that names what to check."""
    account = _account(await listen(hostile.KINDS[kind](200, "application/json")))
    async with session() as shared:
        ledger = Ledger(account, shared, lease_duration=timedelta(seconds=60))
        with pytest.raises(LedgerUnavailable, match="the URL of the account's tables") as caught:
            await ledger.entries(WEBHOOK)
    assert "(its response 200 " in str(caught.value)


async def test_table_with_million_rows_is_refused(listen: Listen) -> None:
    """A page of a table with more objects than a page can have is refused before it is parsed."""
    body = b'{"value":[' + b",".join([b"{}"] * 1_000_000) + b"]}"
    account = _account(await listen(hostile.responds(200, body, "application/json")))
    async with session() as shared:
        ledger = Ledger(account, shared, lease_duration=timedelta(seconds=60))
        with pytest.raises(LedgerUnavailable, match="has more than 50,000 parts"):
            await ledger.entries(WEBHOOK)


PLATFORM: dict[str, Handler] = {
    kind: make(200, "application/json") for kind, make in hostile.KINDS.items()
}


@pytest.mark.parametrize("kind", ["redirect", *PLATFORM])
async def test_hostile_token_is_unavailable(
    kind: str,
    elsewhere: tuple[Elsewhere, int],
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A platform that redirects, or whose response is beyond the bounds, gives no token."""
    monkeypatch.setattr("shared.storage.credentials._REQUEST_TIMEOUT_SECONDS", 2)
    respond = PLATFORM.get(kind) or hostile.redirects(307, elsewhere[1])
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{await listen(respond)}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "the platform's")
    async with session() as shared:
        made = credential(Principal(managed=True, client_id=None), transport(shared))
        with pytest.raises(TokenUnavailable):
            await made.get_token(STORAGE_SCOPE)


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({}, b"<Error><Code>Odd\nacr_delivery {}</Code><Message>m</Message></Error>",
         'Storage responded 403 "Odd\\nacr_delivery {}"'),
        ({"x-ms-error-code": "odd {\x85"}, b"", 'Storage responded 403 "odd {'),
        ({"x-ms-error-code": "x" * 1000}, b"", 'Storage responded 403 "' + "x" * 78 + "…"),
        ({"x-ms-error-code": "ServerBusy"}, b"", "Storage responded 403 ServerBusy"),
    ],
)  # fmt: skip
async def test_error_code_forges_no_line(
    headers: dict[str, str], body: bytes, reason: str, listen: Listen
) -> None:
    """An error code is shown in full only if it is a plain word: else clipped and quoted."""
    queues = StorageQueues(_account(await listen(hostile.responds(403, body, headers=headers))))
    calls = [queues.probe("acr-push", _soon())]
    if headers:  # a send does not read the code in the body
        calls.append(queues.send("acr-push", b"x", _soon()))
    for call in calls:
        with pytest.raises(StorageUnavailable) as caught:
            await call
        message = str(caught.value)
        assert message.startswith(f"acr-push: {reason}")
        assert message.isprintable()
        assert len(message) < 130
    await queues.close()


async def test_reason_phrase_forges_no_line(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """A reason phrase is clipped and quoted in the log."""

    async def respond(request: web.Request) -> web.Response:
        return web.Response(status=403, reason='"acr_delivery" {' + "x" * 1000)

    queues = StorageQueues(_account(await listen(respond)))
    routes = Routes.parse(b'{"routes": [{"queue": "acr-push"}], "rejectedQueue": "acr-no"}', {})
    with caplog.at_level(logging.INFO):
        await queue_depth.report(routes, queues)
    await queues.close()
    lines = [line for line in caplog.messages if line.startswith("acr_queue ")]
    assert len(lines) == 2
    for line in lines:
        error = json.loads(line.removeprefix("acr_queue "))["error"]
        assert '403 "\\"acr_delivery\\" {xxx' in error
        assert len(error) < 150


@pytest.mark.parametrize(
    "wish",
    [
        'Bearer authorization_uri="https://login.example/theirs/oauth2/authorize" '
        'resource_id="https://vault.azure.net"',
        'Bearer authorization_uri="https://login.example/theirs/oauth2/authorize" '
        'resource_id="https://storage.azure.com"',
    ],
)
async def test_challenge_gets_no_other_token(
    wish: str, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that names an audience or a tenant with its 401 gets no token for it."""
    asked: list[str] = []

    async def token(request: web.Request) -> web.Response:
        asked.append(request.query["resource"])
        document = {"access_token": "t", "expires_on": "9999999999", "token_type": "Bearer"}
        return web.json_response(document | {"resource": request.query["resource"]})

    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{await listen(token)}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "the platform's")
    refuse = hostile.responds(401, headers={"WWW-Authenticate": wish})
    principal = Principal(managed=True, client_id=None)
    uri = f"https://127.0.0.1:{await listen(refuse, tls=True)}"
    # The certificate is the test's own.
    monkeypatch.setattr(aiohttp, "TCPConnector", partial(aiohttp.TCPConnector, ssl=False))
    queues = StorageQueues(Identity("AcrEventsStorage", uri, uri, principal))
    with pytest.raises(StorageUnavailable):
        await queues.send("acr-push", b"x", _soon())
    await queues.close()
    async with session() as shared:
        account = Identity("AcrEventsStorage", uri, uri, principal)
        ledger = Ledger(account, shared, lease_duration=timedelta(seconds=60))
        with pytest.raises(LedgerUnavailable):
            await ledger.entries(WEBHOOK)
    assert set(asked) == {"https://storage.azure.com"}
