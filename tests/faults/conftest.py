"""Fixtures that the fault tests share."""

from collections.abc import AsyncIterator

import pytest

from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount


@pytest.fixture
async def proxy(storage: StorageAccount) -> AsyncIterator[FaultProxy]:
    """A proxy in front of an account without queues."""
    port = storage.connection.partition("QueueEndpoint=http://127.0.0.1:")[2].partition("/")[0]
    proxy = FaultProxy(int(port))
    await proxy.start()
    yield proxy
    await proxy.stop()
