"""The app as it is served: HTTP, the local host, Microsoft's runtime."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tools import processes


@pytest.fixture(scope="session")
def function_url(azurite: str) -> Iterator[str]:
    """The URL of the function, served with the settings of a fresh installation."""
    settings = {"AcrEventsStorage": azurite, "ACR_REGISTRIES": ""}
    with processes.app(processes.free_port(), settings) as child:
        yield child.address


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that decides nothing by itself."""
    async with aiohttp.ClientSession() as session:
        yield session
