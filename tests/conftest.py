"""What all tests share."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support.deliveries import every_example
from tests.support.routes import use_shipped_routes
from tests.support.servers import Listen, listener
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_azurite_port

use_shipped_routes()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the slow tests first, so that no worker has one left when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `any_example` runs once for each of them."""
    if "any_example" in metafunc.fixturenames:
        found = every_example()
        metafunc.parametrize("any_example", found.values(), ids=list(found))


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an Azurite of the tests' own."""
    with processes.azurite(free_azurite_port(), tmp_path_factory.mktemp("azurite")) as child:
        yield child.address


@pytest.fixture
async def storage(azurite: str) -> AsyncIterator[StorageAccount]:
    """An account without queues."""
    storage = StorageAccount(azurite)
    for queue in await storage.queues():
        await storage.service.delete_queue(queue)
    yield storage
    await storage.service.close()


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Serves a handler on a port of its own, with `tls` if asked, until the test is over."""
    async with AsyncExitStack() as stack:
        yield listener(stack)
