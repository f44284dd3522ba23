"""The app as it is served: HTTP, the local host, Microsoft's runtime."""

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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


PARTS = (
    "AcrReconcile",
    "AcrWebhook",
    "Health",
    "QueueDepth",
    "shared",
    "tools",
    "tests/examples",
    "host.json",
    "routes.json",
)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the app that a test may spoil."""
    for part in PARTS:
        source, target = processes.ROOT / part, tmp_path / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return tmp_path


@pytest.fixture
def serve(app: Path, azurite: str) -> Iterator[Callable[..., str]]:
    """Serves a copy of the app with routes of the test's own; gives the function's URL."""
    with ExitStack() as stack:

        def start(routes: dict[str, Any], **settings: str) -> str:
            (app / "routes.json").write_text(json.dumps(routes))
            environment = {"AcrEventsStorage": azurite, "ACR_REGISTRIES": "", **settings}
            port = processes.free_port()
            return stack.enter_context(processes.app(port, environment, folder=app)).address

        yield start
