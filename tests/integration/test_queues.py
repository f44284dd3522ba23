"""Sends to Storage queues, probes and depths, with Azurite."""

import asyncio
import gc
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web

from shared.core.limits import MAX_MESSAGE_BYTES
from shared.storage.connections import ConnectionString
from shared.storage.depth import Depth
from shared.storage.errors import StorageUnavailable
from shared.storage.queues import StorageQueues
from tests.support.servers import Listen
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port


@pytest.fixture
async def queues(storage: StorageAccount) -> AsyncIterator[StorageQueues]:
    queues = StorageQueues(ConnectionString("AcrEventsStorage", storage.connection))
    yield queues
    await queues.close()


def _deadline(seconds: float = 4) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_first_send_creates_missing_queue(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    """The first send to a missing queue creates it."""
    assert await storage.queues() == []
    await queues.send("acr-push", b"one", _deadline())
    assert [m.content for m in await storage.take("acr-push")] == [b"one"]


async def test_concurrent_first_sends_lose_nothing(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    """Many concurrent first sends to a missing queue lose no message."""
    contents = [str(number).encode() for number in range(50)]
    await asyncio.gather(*(queues.send("acr-push", content, _deadline()) for content in contents))
    found = {message.content for message in await storage.take("acr-push")}
    assert found == set(contents)


async def test_send_creates_deleted_queue_again(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    """A send to a queue that was deleted after an earlier send creates it again."""
    await queues.send("acr-push", b"one", _deadline())
    await storage.service.delete_queue("acr-push")
    await queues.send("acr-push", b"two", _deadline())
    assert [m.content for m in await storage.take("acr-push")] == [b"two"]


async def test_message_is_base64_without_expiry(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    """A message is base64 and never expires."""
    await queues.send("acr-push", b"\x00\xff<&>", _deadline())
    [message] = await storage.service.get_queue_client("acr-push").peek_messages()
    assert b64decode(message.content, validate=True) == b"\x00\xff<&>"
    assert message.expires_on
    assert message.expires_on > datetime(9000, 1, 1, tzinfo=UTC)


async def test_longest_message_is_stored_whole(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    """Storage stores a message of the maximum size whole."""
    longest = b"\xfe" * MAX_MESSAGE_BYTES
    await queues.send("acr-push", longest, _deadline())
    assert [m.content for m in await storage.take("acr-push")] == [longest]


async def test_refused_message_fails_at_once(queues: StorageQueues) -> None:
    """A message that Storage refuses is an error well before the deadline."""
    started = asyncio.get_running_loop().time()
    with pytest.raises(StorageUnavailable, match="acr-push: Storage responded 4"):
        await queues.send("acr-push", b"x" * (MAX_MESSAGE_BYTES + 1), _deadline(30))
    assert asyncio.get_running_loop().time() - started < 20


async def test_sends_share_one_client(queues: StorageQueues) -> None:
    """All sends share one client, and so its connections."""
    clients = set()
    for queue in ("acr-push", "acr-delete", "acr-push"):
        await queues.send(queue, b"x", _deadline())
        clients.add(queues._messages)
    assert len(clients) == 1


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore:Unclosed:ResourceWarning")
def test_new_event_loop_gets_clients(azurite: str) -> None:
    """On another event loop, sends use new clients."""
    queues = StorageQueues(ConnectionString("AcrEventsStorage", azurite))

    async def use(content: bytes) -> None:
        await queues.send("two-loops", content, _deadline())

    async def use_and_close(content: bytes) -> None:
        await use(content)
        await queues.close()

    asyncio.run(use(b"one"))
    asyncio.run(use_and_close(b"two"))
    gc.collect()


@pytest.mark.timing
async def test_refused_connection_fails_by_deadline() -> None:
    """A send to an account that refuses connections fails by its deadline."""
    queues = StorageQueues(
        ConnectionString("AcrEventsStorage", processes.connection_string(free_port()))
    )
    deadline = _deadline(1)
    with pytest.raises(StorageUnavailable, match="acr-push: Storage cannot be reached"):
        await queues.send("acr-push", b"x", deadline)
    assert asyncio.get_running_loop().time() < deadline + 0.5
    await queues.close()


async def test_send_timeout_keeps_earlier_503(listen: Listen) -> None:
    """A send cut off by its deadline reports Storage's earlier 503."""
    request_count = 0

    async def refuse_once(_: web.Request) -> web.Response:
        nonlocal request_count
        request_count += 1
        if request_count > 1:
            await asyncio.sleep(60)
        return web.Response(status=503, reason="Busy")

    account = processes.connection_string(await listen(refuse_once))
    queues = StorageQueues(ConnectionString("AcrEventsStorage", account))
    with pytest.raises(StorageUnavailable, match="acr-push: Storage responded 503 Busy"):
        await queues.send("acr-push", b"x", _deadline(3))
    assert request_count > 1
    await queues.close()


async def test_foreign_404_is_an_error(listen: Listen) -> None:
    """A 404 response without Storage's error code does not stand for a missing queue."""

    async def respond_404(_: web.Request) -> web.Response:
        return web.Response(status=404)

    connection = processes.connection_string(await listen(respond_404))
    queues = StorageQueues(ConnectionString("AcrEventsStorage", connection))
    for ask in (queues.probe, queues.depth):
        with pytest.raises(StorageUnavailable, match="acr-push: Storage responded 404"):
            await ask("acr-push", _deadline())
    await queues.close()


async def test_missing_queue_passes_the_probe(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    """A missing queue passes the probe and has no messages."""
    await queues.probe("acr-push", _deadline())
    assert await queues.depth("acr-push", _deadline()) == Depth(0, None)


async def test_wrong_key_error_hides_key(azurite: str) -> None:
    """The error for a wrong account key does not show the key."""
    wrong = azurite.replace(processes.KEY, "bm90LXRoZS1rZXk=")
    queues = StorageQueues(ConnectionString("AcrEventsStorage", wrong))
    with pytest.raises(StorageUnavailable) as caught:
        await queues.send("acr-push", b"x", _deadline(30))
    assert str(caught.value) == "acr-push: Storage responded 403 AuthenticationFailed"
    await queues.close()


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
async def test_proxy_comes_from_the_environment(
    proxy: str, azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sends use a proxy only if the environment names one."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
    queues = StorageQueues(ConnectionString("AcrEventsStorage", azurite))
    if proxy:
        with pytest.raises(StorageUnavailable):
            await queues.send("acr-push", b"x", _deadline(0.5))
    else:
        await queues.send("acr-push", b"x", _deadline())
    await queues.close()
