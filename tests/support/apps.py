"""The app and the tools as processes."""

import json
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.support.commands import ROOT, Command
from tests.support.routes import SHIPPED_ROUTES
from tools.localhost import processes
from tools.localhost.ports import free_port

PARTS = (
    "AcrReconcile",
    "AcrWebhook",
    "Health",
    "QueueDepth",
    "shared",
    "tools",
    "tests/examples",
    "host.json",
)
Routes = dict[str, Any]


class Serve(Protocol):
    """Serves a copy of the app until the test is over."""

    def __call__(self, routes: Routes, **settings: str) -> str:
        """The URL of the function that is served with `routes` and `settings`."""


class ServeAsIdentity(Protocol):
    """Serves a copy of the app as an identity until the test is over."""

    async def __call__(self, queue: str, **settings: str) -> str:
        """The URL of the function that is served with one route, to `queue`."""


def copy_app(folder: Path) -> Path:
    """Copies the app to `folder`, where a test may change it. It has the shipped routes."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    shutil.copy(SHIPPED_ROUTES, folder / "routes.json")
    return folder


def copy_with_azurite(folder: Path) -> Path:
    """As `copy_app`, and Azurite is installed there."""
    copy_app(folder)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    return folder


def write_routes(app: Path, routes: Routes) -> None:
    """Writes `routes` to the copy in `app`."""
    (app / "routes.json").write_text(json.dumps(routes))


@contextmanager
def served(
    settings: Mapping[str, str], *options: str, folder: Path = ROOT, port: int | None = None
) -> Iterator[str]:
    """Serves the app in `folder` with the local host. Yields the function's URL.

    `options` are the host's. local.settings.json is not read.
    """
    port = port or free_port()
    command = Command(
        "host", "--port", str(port), "--no-local-settings", "--app", str(folder), *options,
        settings=settings,
    )  # fmt: skip
    try:
        command.until("AcrWebhook:")
        yield processes.function_url(port)
    finally:
        command.stop(signal.SIGTERM)
        command.wait(traceback_allowed=True)
