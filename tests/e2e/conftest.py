"""Fixtures that serve the app over HTTP with the local host and Microsoft's runtime."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.support.apps import Routes, Serve, copy_app, served, write_routes


@pytest.fixture(scope="session")
def function_url(azurite: str) -> Iterator[str]:
    """The URL of the function, served with the settings of a fresh installation."""
    settings = {"AcrEventsStorage": azurite, "ACR_REGISTRIES": ""}
    with served(settings) as url:
        yield url


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client without default settings."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the app that a test may change."""
    return copy_app(tmp_path)


@pytest.fixture
def serve(app: Path, azurite: str) -> Iterator[Serve]:
    """Serves a copy of the app with the routes of the test."""
    with ExitStack() as stack:

        def start(routes: Routes, **settings: str) -> str:
            write_routes(app, routes)
            environment = {"AcrEventsStorage": azurite, "ACR_REGISTRIES": "", **settings}
            return stack.enter_context(served(environment, folder=app))

        yield start
