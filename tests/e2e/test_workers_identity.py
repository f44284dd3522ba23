"""The example workers with an identity and without a key, on Azurite over HTTPS with OAuth."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from azure.storage.queue.aio import QueueServiceClient

from tests.support.certificates import certificates
from tests.support.cloud import CLIENT_ID, PROCESSOR, SENDER, Cloud
from tests.support.consumers import EVENT_GRID, EXAMPLES, QUEUE, WORKERS, Consumer, command, message
from tools.localhost import processes

Start = Callable[..., Consumer]
POISON = f"{QUEUE}-poison"


@pytest.fixture(params=WORKERS)
def name(request: pytest.FixtureRequest) -> str:
    """The folder of a worker in examples/."""
    worker: str = request.param
    return worker


@pytest.fixture
def start(name: str, cloud: Cloud, tmp_path: Path) -> Iterator[Start]:
    """Starts the worker with the settings of a deployment."""
    authority = str(certificates() / "ca.pem")
    tables = f"https://127.0.0.1:{cloud.azurite + 1}/{processes.ACCOUNT}"
    settings = {
        "AcrEventsStorage": "",
        "AcrEventsStorage__queueServiceUri": cloud.settings["AcrEventsStorage__queueServiceUri"],
        "ConsumerStorage__tableServiceUri": tables,
        "AZURE_CLIENT_ID": CLIENT_ID,
        "IDENTITY_ENDPOINT": cloud.settings["IDENTITY_ENDPOINT"],
        "IDENTITY_HEADER": cloud.settings["IDENTITY_HEADER"],
        "REQUESTS_CA_BUNDLE": authority,
        "NODE_EXTRA_CA_CERTS": authority,
    }
    with ExitStack() as stack:

        def run(queue: str = QUEUE) -> Consumer:
            assert not any("AccountKey" in value for value in settings.values())
            words = command(name, EXAMPLES / name, queue)
            return stack.enter_context(Consumer(words, settings, tmp_path / "output"))

        yield run


@pytest.fixture
async def account(secure_azurite: int) -> AsyncIterator[QueueServiceClient]:
    """The account that the worker reads, seen by its owner; without queues."""
    uri = f"https://127.0.0.1:{secure_azurite}/{processes.ACCOUNT}"
    authority = str(certificates() / "ca.pem")
    key = {"account_name": processes.ACCOUNT, "account_key": processes.KEY}
    async with QueueServiceClient(uri, key, connection_verify=authority) as account:
        async for queue in account.list_queues():
            await account.delete_queue(queue)
        yield account


async def _ready(account: QueueServiceClient, **attributes: str) -> None:
    """Creates QUEUE with one message."""
    queue = await account.create_queue(QUEUE)
    await queue.send_message(message(EVENT_GRID | {"id": str(uuid.uuid4())} | attributes))


async def _messages(account: QueueServiceClient, queue: str) -> int:
    properties = await account.get_queue_client(queue).get_queue_properties()
    return int(properties.approximate_message_count or 0)


async def test_worker_reads_with_processor_role(
    start: Start, cloud: Cloud, account: QueueServiceClient
) -> None:
    """The role to process messages is all that a worker needs to read events."""
    cloud.roles = PROCESSOR
    await _ready(account)
    worker = start()
    await worker.prints("grid:v1")
    for _ in range(300):
        if await _messages(account, QUEUE) == 0:
            break
        await asyncio.sleep(0.1)
    assert await worker.end() == 0
    assert len(worker.lines) == 1
    assert await _messages(account, QUEUE) == 0
    assert {needed for needed, _ in cloud.calls} == {"process"}
    assert set(cloud.tokens) == {CLIENT_ID}


async def test_worker_moves_with_sender_role(
    start: Start, cloud: Cloud, account: QueueServiceClient
) -> None:
    """With the role to send, a worker moves a message to the poison queue that exists."""
    cloud.roles = PROCESSOR | SENDER
    await account.create_queue(POISON)
    await _ready(account, specversion="2.0")
    queue = account.get_queue_client(QUEUE)
    for _ in range(5):
        taken = await queue.receive_message()
        assert taken
        await queue.update_message(taken, visibility_timeout=0)
    worker = start()
    for _ in range(300):
        if await _messages(account, POISON) == 1 and await _messages(account, QUEUE) == 0:
            break
        await asyncio.sleep(0.1)
    assert await worker.end() == 0
    assert (await _messages(account, POISON), await _messages(account, QUEUE)) == (1, 0)


async def test_missing_queue_needs_no_list(
    start: Start, cloud: Cloud, account: QueueServiceClient
) -> None:
    """A worker that may not list the queues still names the queue that does not exist."""
    cloud.roles = PROCESSOR
    worker = start("acr-psuh")
    assert await worker.status() == 1
    assert worker.lines == ["There is no queue acr-psuh."]


async def test_worker_names_missing_role(
    start: Start, cloud: Cloud, account: QueueServiceClient
) -> None:
    """A worker that Storage denies the messages exits with 1, and says that a role is missing."""
    cloud.roles = SENDER
    await _ready(account)
    worker = start()
    assert await worker.status() == 1
    assert worker.lines == [
        "Storage refuses: give the identity the roles that a worker needs "
        "(AuthorizationPermissionMismatch)."
    ]
    assert await _messages(account, QUEUE) == 1


async def test_worker_without_token_ends(
    start: Start, cloud: Cloud, account: QueueServiceClient
) -> None:
    """A worker that gets no token exits with 1, and says why, without a traceback."""
    cloud.has_identity = False
    worker = start()
    assert await worker.status() == 1
    assert not any(line.startswith(("Traceback", "    at ")) for line in worker.lines)
    assert any("ManagedIdentityCredential" in line for line in worker.lines)
