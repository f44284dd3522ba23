"""Fixtures that serve the app over HTTP with the local host and Microsoft's runtime."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.support.apps import Routes, Serve, copy_app, served, write_routes
from tests.support.certificates import certificates
from tests.support.cloud import CLIENT_ID, HEADER, Cloud
from tests.support.servers import Listen
from tools.localhost import processes
from tools.localhost.ports import free_azurite_port


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


@pytest.fixture(scope="session")
def secure_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an Azurite that accepts tokens over HTTPS."""
    options = ["--oauth", "basic"]
    options += [
        "--cert",
        str(certificates() / "cert.pem"),
        "--key",
        str(certificates() / "key.pem"),
    ]
    port = free_azurite_port()
    with processes.azurite(port, tmp_path_factory.mktemp("secure"), options):
        yield port


@pytest.fixture
async def cloud(secure_azurite: int, listen: Listen) -> Cloud:
    cloud = Cloud(secure_azurite)
    token_port = await listen(cloud.token)
    uri = f"https://127.0.0.1:{await listen(cloud.storage, tls=True)}/{processes.ACCOUNT}"
    cloud.settings = {
        "AzureWebJobsStorage": "",
        "AcrEventsStorage": "",
        "AcrEventsStorage__queueServiceUri": uri,
        "AcrEventsStorage__credential": "managedidentity",
        "AcrEventsStorage__clientId": CLIENT_ID,
        "ACR_REGISTRIES": "",
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{token_port}/msi/token",
        "IDENTITY_HEADER": HEADER,
        "SSL_CERT_FILE": str(certificates() / "ca.pem"),
    }
    return cloud
