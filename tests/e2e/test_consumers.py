"""The consumers in examples/, which read events that the function enqueued."""

import asyncio
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue.aio import QueueClient

from shared.core.actions import actions
from tests.support.apps import Serve
from tests.support.consumers import (
    CONSUMERS,
    EVENT_GRID,
    EXAMPLES,
    QUEUE,
    Consumer,
    changed,
    command,
    empty,
    message,
)
from tests.support.deliveries import example
from tests.support.storage import StorageAccount

MIRROR, POISON = "mirror", "consumed-poison"
ROUTES = {"routes": [{"queue": QUEUE}, {"queue": MIRROR}], "rejectedQueue": "acr-rejected"}
MAX_ATTEMPTS = 5  # of each consumer, for a message


@pytest.fixture(params=CONSUMERS)
def name(request: pytest.FixtureRequest) -> str:
    """The folder of a consumer in examples/."""
    consumer: str = request.param
    return consumer


@pytest.fixture
def consume(name: str, azurite: str, tmp_path: Path) -> Iterator[Callable[..., Consumer]]:
    """Starts the consumer, of examples/ or of another folder, which reads QUEUE."""
    with ExitStack() as stack:

        def start(folder: Path = EXAMPLES / name) -> Consumer:
            output = tmp_path / f"output-{uuid.uuid4()}"
            settings = {"AcrEventsStorage": azurite}
            return stack.enter_context(Consumer(command(name, folder), settings, output))

        yield start


async def _post(http: aiohttp.ClientSession, url: str, delivery: dict[str, Any]) -> None:
    async with http.post(url, json=delivery) as response:
        assert response.status == 202, await response.text()


async def test_consumer_reads_every_event_type(
    consume: Callable[..., Consumer],
    serve: Serve,
    http: aiohttp.ClientSession,
    storage: StorageAccount,
) -> None:
    """Each consumer reads every event type of the app and an event of Event Grid."""
    url = serve(ROUTES)
    raising = [name for name, action in actions().items() if action.type]
    for action in raising:
        await _post(http, url, example(action, id=str(uuid.uuid4())))
    grid = EVENT_GRID | {"id": str(uuid.uuid4())}
    events = [*await storage.documents(MIRROR), grid]
    queue = storage.service.get_queue_client(QUEUE)
    await queue.send_message(message(grid))
    assert len(events) == len(raising) + 1

    def is_printed(event: dict[str, Any], lines: list[str]) -> bool:
        expected = (event["type"], event["subject"], event.get("acrreference", ""))
        return any(all(part in line for part in expected) for line in lines)

    consumer = consume()
    await consumer.until(lambda lines: all(is_printed(event, lines) for event in events))
    await empty(storage)


@pytest.mark.parametrize("content", ["not base64", b64encode(b"{").decode()])
async def test_consumer_moves_invalid_message_to_poison(
    consume: Callable[..., Consumer], storage: StorageAccount, content: str
) -> None:
    """A consumer moves an invalid message to the poison queue and reads the next message."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(content)
    await _fail(queue, MAX_ATTEMPTS)
    await queue.send_message(message(EVENT_GRID | {"id": str(uuid.uuid4())}))
    await consume().prints("grid:v1")
    poison = storage.service.get_queue_client(POISON)
    for _ in range(600):
        found = await poison.peek_messages() if POISON in await storage.queues() else []
        if found:
            break
        await asyncio.sleep(0.1)
    assert [message.content for message in found] == [content]
    assert await queue.peek_messages() == []


async def _fail(queue: QueueClient, times: int) -> None:
    """Receives the only message and makes it visible again, as often as `times` says."""
    for _ in range(times):
        message = await queue.receive_message()
        assert message
        await queue.update_message(message, visibility_timeout=0)


async def test_consumer_makes_last_attempt(
    consume: Callable[..., Consumer], storage: StorageAccount
) -> None:
    """A consumer handles a message on its last permitted attempt."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(message(EVENT_GRID | {"id": str(uuid.uuid4())}))
    await _fail(queue, MAX_ATTEMPTS - 1)
    await consume().prints("grid:v1")
    if POISON in await storage.queues():
        assert await storage.service.get_queue_client(POISON).peek_messages() == []


@pytest.mark.parametrize("name", ["python_function"], indirect=True)
async def test_function_starts_before_its_queue(
    consume: Callable[..., Consumer], storage: StorageAccount
) -> None:
    """The function starts before its queue exists, and reads events once it exists."""
    consumer = consume()
    await asyncio.sleep(2)
    with suppress(ResourceExistsError):
        await storage.service.create_queue(QUEUE)
    event = EVENT_GRID | {"id": str(uuid.uuid4())}
    await storage.service.get_queue_client(QUEUE).send_message(message(event))
    await consumer.prints("grid:v1")


async def test_consumer_handles_repeated_event_once(
    consume: Callable[..., Consumer],
    serve: Serve,
    http: aiohttp.ClientSession,
    storage: StorageAccount,
) -> None:
    """A consumer handles an event once that the registry delivers again."""
    url = serve(ROUTES)
    once, other = (example("push", id=str(uuid.uuid4())) for _ in range(2))
    await _post(http, url, once)
    consumer = consume()
    await consumer.prints("ImagePushed ")
    await _post(http, url, once)
    await _post(http, url, other)
    await consumer.until(lambda lines: sum("ImagePushed " in line for line in lines) >= 2)
    await empty(storage)
    assert sum("ImagePushed " in line for line in consumer.lines) == 2


async def test_concurrent_copies_are_handled_once(
    name: str, consume: Callable[..., Consumer], storage: StorageAccount, tmp_path: Path
) -> None:
    """Two consumers that receive copies of an event at once process it once."""
    queue = await storage.service.create_queue(QUEUE)
    event = EVENT_GRID | {"id": str(uuid.uuid4())}
    for _ in range(2):
        await queue.send_message(message(event))
    folder = changed(name, tmp_path, work=4)
    consumers = [consume(folder)] if name == "python_function" else [consume(folder) for _ in "12"]
    await empty(storage)
    lines = [line for consumer in consumers for line in consumer.lines]
    assert any("another message with this event is being processed" in line for line in lines)
    assert sum("grid:v1" in line for line in lines) == 1
    assert POISON not in await storage.queues()
