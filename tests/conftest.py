"""What all tests share."""

import copy
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from azure.core.messaging import CloudEvent as AzureCloudEvent
from azure.storage.queue import BinaryBase64DecodePolicy, QueueMessage
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator
from yarl import URL

from shared.connections import ConnectionString
from shared.queues import connect
from shared.validation import FORMATS, validator, violations
from tools import processes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EXAMPLES = Path(__file__).parent / "examples"
# The event's schema as it was when a version was released, references put in place.
RELEASED = [
    Draft202012Validator(json.loads(file.read_bytes()), format_checker=FORMATS)
    for file in sorted((Path(__file__).parent / "released").glob("event.*.json"))
]


def _examples() -> dict[str, dict[str, Any]]:
    """Every example delivery, by `<action>/<name>`."""
    return {
        f"{file.parent.name}/{file.stem}": json.loads(file.read_bytes())
        for file in sorted(EXAMPLES.glob("*/*.json"))
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `any_example` runs once for each of them."""
    if "any_example" in metafunc.fixturenames:
        found = _examples()
        metafunc.parametrize("any_example", found.values(), ids=list(found))


@pytest.fixture
def example() -> Callable[..., dict[str, Any]]:
    """Makes the documented delivery of an action, with members replaced: `target__tag="v2"`.

    A member whose new value is `...` is left out.
    """

    def make(action: str, /, **changes: Any) -> dict[str, Any]:
        delivery = copy.deepcopy(_examples()[f"{action}/documented"])
        for path, value in changes.items():
            *outer, name = path.split("__")
            members = delivery
            for step in outer:
                members = members[step]
            if value is ...:
                members.pop(name)
            else:
                members[name] = value
        return delivery

    return make


@pytest.fixture(scope="session")
def read_back() -> Callable[[dict[str, Any]], None]:
    """Reads an event as its consumers would; fails where one of them would fail."""

    def read(event: dict[str, Any]) -> None:
        assert violations(validator("event.v1.json"), event) == []
        for released in RELEASED:
            released.validate(event)
        by_azure: AzureCloudEvent[Any] = AzureCloudEvent.from_json(json.dumps(event))
        by_cloudevents = JSONFormat().read(None, json.dumps(event))
        moment = datetime.fromisoformat(event["time"])
        assert by_azure.id == by_cloudevents.get_id() == event["id"]
        assert by_azure.type == by_cloudevents.get_type() == event["type"]
        assert by_azure.source == by_cloudevents.get_source() == event["source"]
        assert by_azure.subject == by_cloudevents.get_subject() == event["subject"]
        assert by_azure.time == by_cloudevents.get_time() == moment
        assert moment.tzinfo == UTC
        assert by_azure.data == by_cloudevents.get_data() == event["data"]
        extensions = by_azure.extensions or {}
        for name in ("acrregistry", "acrreference", "traceparent"):
            assert extensions.get(name) == event.get(name)
            assert by_cloudevents.get_extension(name) == event.get(name)

    return read


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an Azurite of the tests' own."""
    with processes.azurite(
        processes.free_azurite_port(), tmp_path_factory.mktemp("azurite")
    ) as child:
        yield child.address


class Storage:
    """Looks at the queues of an account from outside the app."""

    def __init__(self, connection: str) -> None:
        self.connection = connection
        self.service = connect(ConnectionString("AcrEventsStorage", connection))

    async def queues(self) -> list[str]:
        """The names of all queues."""
        return [str(queue.name) async for queue in self.service.list_queues()]

    async def take(self, queue: str) -> list[QueueMessage]:
        """Takes every message off `queue`; the contents are bytes."""
        client = self.service.get_queue_client(
            queue, message_decode_policy=BinaryBase64DecodePolicy()
        )
        messages = []
        async for message in client.receive_messages(messages_per_page=32):
            await client.delete_message(message)
            messages.append(message)
        return messages

    async def documents(self, queue: str) -> list[dict[str, Any]]:
        """Takes every message off `queue`, parsed."""
        return [json.loads(message.content) for message in await self.take(queue)]


@pytest.fixture
async def storage(azurite: str) -> AsyncIterator[Storage]:
    """An account without queues."""
    storage = Storage(azurite)
    for queue in await storage.queues():
        await storage.service.delete_queue(queue)
    yield storage
    await storage.service.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for this machine, its key, and who vouches for it."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return folder


@pytest.fixture
async def listen(certificates: Path) -> AsyncIterator[Callable[..., Awaitable[int]]]:
    """Serves a handler on a port of its own, with `tls` if asked, until the test is over."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, *, tls: bool = False) -> int:
            context = None
            if tls:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app, auto_decompress=False, handler_cancellation=True)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            port = processes.free_port()
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
            return port

        yield start


@pytest.fixture
def hand_on() -> Callable[[web.Request, str], Awaitable[web.Response]]:
    """Hands a request on to another server, and back what that one answered."""
    hop_by_hop = {"Host", "Transfer-Encoding", "Content-Length", "Connection", "Keep-Alive"}

    async def to(request: web.Request, server: str) -> web.Response:
        kept = {name: v for name, v in request.headers.items() if name not in hop_by_hop}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, URL(f"{server}{request.raw_path}", encoded=True), headers=kept,
                data=await request.read(), ssl=False, skip_auto_headers=("Content-Type",),
            ) as answer,
        ):  # fmt: skip
            kept = {name: v for name, v in answer.headers.items() if name not in hop_by_hop}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    return to
