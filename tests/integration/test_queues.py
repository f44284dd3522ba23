import asyncio
import gc
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web

from shared.core.limits import MAX_MESSAGE_BYTES
from shared.storage.connections import ConnectionString
from shared.storage.errors import StorageUnavailable
from shared.storage.queues import Depth, StorageQueues
from tests.support.servers import Listen
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port


@pytest.fixture
async def queues(storage: StorageAccount) -> AsyncIterator[StorageQueues]:
    queues = StorageQueues(ConnectionString("AcrEventsStorage", storage.connection))
    yield queues
    await queues.close()


def _soon(seconds: float = 4) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_missing_queue_is_created_on_first_use(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    assert await storage.queues() == []
    await queues.send("acr-push", b"one", _soon())
    assert [m.content for m in await storage.take("acr-push")] == [b"one"]


async def test_many_first_uses_at_once_lose_nothing(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    contents = [str(number).encode() for number in range(50)]
    await asyncio.gather(*(queues.send("acr-push", content, _soon()) for content in contents))
    found = {message.content for message in await storage.take("acr-push")}
    assert found == set(contents)


async def test_a_queue_that_was_deleted_under_us_is_created_again(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    await queues.send("acr-push", b"one", _soon())
    await storage.service.delete_queue("acr-push")
    await queues.send("acr-push", b"two", _soon())
    assert [m.content for m in await storage.take("acr-push")] == [b"two"]


async def test_a_message_is_base64_and_never_expires(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    await queues.send("acr-push", b"\x00\xff<&>", _soon())
    [message] = await storage.service.get_queue_client("acr-push").peek_messages()
    assert b64decode(message.content, validate=True) == b"\x00\xff<&>"
    assert message.expires_on
    assert message.expires_on > datetime(9000, 1, 1, tzinfo=UTC)


async def test_the_longest_message_is_stored_whole(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    longest = b"\xfe" * MAX_MESSAGE_BYTES
    await queues.send("acr-push", longest, _soon())
    assert [m.content for m in await storage.take("acr-push")] == [longest]


async def test_a_message_that_storage_does_not_take_is_an_error_at_once(
    queues: StorageQueues,
) -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(StorageUnavailable, match="acr-push: Storage answered 4"):
        await queues.send("acr-push", b"x" * (MAX_MESSAGE_BYTES + 1), _soon(30))
    assert asyncio.get_running_loop().time() - started < 20


async def test_all_requests_share_one_client_a_queue(
    queues: StorageQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    for queue in ("acr-push", "acr-delete", "acr-push"):
        await queues.send(queue, b"x", _soon())
    assert set(queues._clients) == {"acr-push", "acr-delete"}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore:Unclosed:ResourceWarning")
def test_on_another_event_loop_the_clients_are_made_anew(azurite: str) -> None:
    queues = StorageQueues(ConnectionString("AcrEventsStorage", azurite))

    async def use(content: bytes) -> None:
        await queues.send("two-loops", content, _soon())

    async def use_and_close(content: bytes) -> None:
        await use(content)
        await queues.close()

    asyncio.run(use(b"one"))
    asyncio.run(use_and_close(b"two"))
    gc.collect()


@pytest.mark.timing
async def test_storage_that_refuses_connections_is_an_error_before_the_deadline() -> None:
    queues = StorageQueues(
        ConnectionString("AcrEventsStorage", processes.connection_string(free_port()))
    )
    deadline = _soon(1)
    with pytest.raises(StorageUnavailable, match="acr-push: Storage cannot be reached"):
        await queues.send("acr-push", b"x", deadline)
    assert asyncio.get_running_loop().time() < deadline + 0.5
    await queues.close()


async def test_of_storage_that_refuses_and_then_falls_silent_the_refusal_is_told(
    listen: Listen,
) -> None:
    asked = 0

    async def refuse_once(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked > 1:
            await asyncio.sleep(60)
        return web.Response(status=503, reason="Busy")

    account = processes.connection_string(await listen(refuse_once))
    queues = StorageQueues(ConnectionString("AcrEventsStorage", account))
    with pytest.raises(StorageUnavailable, match="acr-push: Storage answered 503 Busy"):
        await queues.send("acr-push", b"x", _soon(3))
    assert asked > 1
    await queues.close()


async def test_another_servers_404_is_not_taken_for_a_queue_that_is_missing(
    listen: Listen,
) -> None:
    async def nothing(_: web.Request) -> web.Response:
        return web.Response(status=404)

    connection = processes.connection_string(await listen(nothing))
    queues = StorageQueues(ConnectionString("AcrEventsStorage", connection))
    for ask in (queues.probe, queues.depth):
        with pytest.raises(StorageUnavailable, match="acr-push: Storage answered 404"):
            await ask("acr-push", _soon())
    await queues.close()


async def test_a_queue_that_is_missing_is_no_trouble(
    storage: StorageAccount, queues: StorageQueues
) -> None:
    await queues.probe("acr-push", _soon())
    assert await queues.depth("acr-push", _soon()) == Depth(0, None)


async def test_a_key_that_is_not_the_accounts_is_an_error_that_does_not_show_it(
    azurite: str,
) -> None:
    wrong = azurite.replace(processes.KEY, "bm90LXRoZS1rZXk=")
    queues = StorageQueues(ConnectionString("AcrEventsStorage", wrong))
    with pytest.raises(StorageUnavailable) as caught:
        await queues.send("acr-push", b"x", _soon(30))
    assert str(caught.value) == "acr-push: Storage answered 403 AuthenticationFailed"
    await queues.close()


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
async def test_a_proxy_is_used_only_where_the_environment_names_one(
    proxy: str, azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
    queues = StorageQueues(ConnectionString("AcrEventsStorage", azurite))
    if proxy:
        with pytest.raises(StorageUnavailable):
            await queues.send("acr-push", b"x", _soon(0.5))
    else:
        await queues.send("acr-push", b"x", _soon())
    await queues.close()
