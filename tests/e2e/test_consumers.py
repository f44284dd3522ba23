"""The consumers in examples/, which read events that the function enqueued."""

import asyncio
import json
import os
import subprocess
import sys
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
from tests.support.deliveries import example
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port

EXAMPLES = processes.ROOT / "examples"
CONSUMERS = ["python_function", "python_worker", "node_worker"]
QUEUE, MIRROR, POISON = "consumed", "mirror", "consumed-poison"
ROUTES = {"routes": [{"queue": QUEUE}, {"queue": MIRROR}], "rejectedQueue": "acr-rejected"}
MAX_ATTEMPTS = 5  # of each consumer, for a message

# An event as Event Grid sends it, without attributes of the app.
EVENT_GRID = {
    "specversion": "1.0",
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "source": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images"
    "/providers/Microsoft.ContainerRegistry/registries/contoso",
    "type": "Microsoft.ContainerRegistry.ImagePushed",
    "subject": "grid:v1",
    "time": "2018-04-25T21:39:47.6549614Z",
    "data": {"id": "831e1650-001e-001b-66ab-eeb76e069631", "action": "push"},
}


class Consumer:
    """A consumer that reads QUEUE, and its output."""

    def __init__(self, name: str, connection: str, output: Path) -> None:
        folder = EXAMPLES / name
        self._output = output
        command = {
            "python_function": [
                sys.executable, "-m", "tools", "host", "--port", str(free_port()),
                "--no-local-settings", "--app", str(folder),
            ],
            "python_worker": [sys.executable, str(folder / "worker.py"), QUEUE],
            "node_worker": ["node", str(folder / "worker.mjs"), QUEUE],
        }[name]  # fmt: skip
        self._file = output.open("wb")
        self.process = subprocess.Popen(
            command,
            cwd=processes.ROOT,
            env={**os.environ, "AcrEventsStorage": connection, "AcrQueue": QUEUE},
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "Consumer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._file.close()

    async def until(self, is_met: Callable[[list[str]], Any]) -> list[str]:
        """Waits until the lines of the output meet a condition."""
        for _ in range(600):
            lines = self._output.read_text().splitlines()
            if is_met(lines):
                return lines
            assert self.process.poll() is None, lines
            await asyncio.sleep(0.1)
        raise AssertionError(lines[-50:])


@pytest.fixture(params=CONSUMERS)
def consume(
    request: pytest.FixtureRequest, azurite: str, tmp_path: Path
) -> Iterator[Callable[[], Consumer]]:
    with ExitStack() as stack:

        def start(name: str = request.param) -> Consumer:
            return stack.enter_context(Consumer(name, azurite, tmp_path / "output"))

        yield start


def _message(document: object) -> str:
    return b64encode(json.dumps(document).encode()).decode()


async def _post(http: aiohttp.ClientSession, url: str, delivery: dict[str, Any]) -> None:
    async with http.post(url, json=delivery) as response:
        assert response.status == 202, await response.text()


async def test_consumer_reads_every_event_type(
    consume: Callable[[], Consumer],
    serve: Serve,
    http: aiohttp.ClientSession,
    storage: StorageAccount,
) -> None:
    """Each consumer reads every event type of the app and an event of Event Grid."""
    url = serve(ROUTES)
    raising = [name for name, action in actions().items() if action.type]
    for action in raising:
        await _post(http, url, example(action))
    events = [*await storage.documents(MIRROR), EVENT_GRID]
    queue = storage.service.get_queue_client(QUEUE)
    await queue.send_message(_message(EVENT_GRID))
    assert len(events) == len(raising) + 1

    def is_printed(event: dict[str, Any], lines: list[str]) -> bool:
        expected = (event["type"], event.get("acrreference", event["subject"]))
        return any(all(part in line for part in expected) for line in lines)

    consumer = consume()
    await consumer.until(lambda lines: all(is_printed(event, lines) for event in events))
    for _ in range(600):
        if (await queue.get_queue_properties()).approximate_message_count == 0:
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the consumer left a message on the queue")


@pytest.mark.parametrize("content", ["not base64", b64encode(b"{").decode()])
async def test_consumer_moves_invalid_message_to_poison(
    consume: Callable[[], Consumer], storage: StorageAccount, content: str
) -> None:
    """A consumer moves an invalid message to the poison queue and reads the next message."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(content)
    await _fail(queue, MAX_ATTEMPTS)
    await queue.send_message(_message(EVENT_GRID | {"id": str(uuid.uuid4())}))
    await consume().until(lambda lines: any("grid:v1" in line for line in lines))
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
    consume: Callable[[], Consumer], storage: StorageAccount
) -> None:
    """A consumer handles a message on its last permitted attempt."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(_message(EVENT_GRID | {"id": str(uuid.uuid4())}))
    await _fail(queue, MAX_ATTEMPTS - 1)
    await consume().until(lambda lines: any("grid:v1" in line for line in lines))
    if POISON in await storage.queues():
        assert await storage.service.get_queue_client(POISON).peek_messages() == []


async def test_consumer_starts_before_its_queue(
    consume: Callable[[], Consumer], storage: StorageAccount
) -> None:
    """A consumer that starts before its queue exists reads events once it exists."""
    consumer = consume()
    await asyncio.sleep(2)
    with suppress(ResourceExistsError):
        await storage.service.create_queue(QUEUE)
    event = EVENT_GRID | {"id": str(uuid.uuid4())}
    await storage.service.get_queue_client(QUEUE).send_message(_message(event))
    await consumer.until(lambda lines: any("grid:v1" in line for line in lines))


@pytest.mark.parametrize("consume", ["python_function"], indirect=True)
async def test_function_handles_repeated_event_once(
    consume: Callable[[], Consumer],
    serve: Serve,
    http: aiohttp.ClientSession,
    storage: StorageAccount,
) -> None:
    """The queue-triggered function handles a repeated event once."""
    url = serve(ROUTES)
    once, other = (example("push", id=str(uuid.uuid4())) for _ in range(2))
    await _post(http, url, once)
    consumer = consume()
    await consumer.until(lambda lines: any("ImagePushed: " in line for line in lines))
    await _post(http, url, once)
    await _post(http, url, other)
    lines = await consumer.until(
        lambda lines: (
            any(f"seen before: {once['id']}" in line for line in lines)
            and sum("ImagePushed: " in line for line in lines) >= 2
        )
    )
    assert sum("ImagePushed: " in line for line in lines) == 2
