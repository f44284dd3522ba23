"""The app and the tools as processes."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tools.localhost import processes

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
    """Copies the app to `folder`, where a test may change it."""
    for part in PARTS:
        source, target = processes.ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def write_routes(app: Path, routes: Routes) -> None:
    """Gives the copy in `app` these routes."""
    (app / "routes.json").write_text(json.dumps(routes))


@contextmanager
def serving(port: int, settings: dict[str, str], *options: str) -> Iterator[str]:
    """The function's URL while the app is served."""
    with processes.app(port, settings, *options) as child:
        yield child.address
