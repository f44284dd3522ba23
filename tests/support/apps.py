"""The app and the tools as processes."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tools import processes

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


def run_tools(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m tools` with `arguments`, to its end. It must not show a traceback."""
    return run_tools_in(processes.ROOT, *arguments, **settings)


def run_tools_in(
    folder: Path, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """As `run_tools`, in a folder that has a copy of the app."""
    result = subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120", **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and what it wrote on both streams."""

    status: int
    output: str


async def run_tools_async(*arguments: str, patch: str = "", **settings: str) -> Ended:
    """As `run_tools`, while this event loop serves the command's requests.

    `patch` is Python source that runs before the command.
    """
    code = f"import sys\n{patch}\nsys.argv[0] = 'tools'\nfrom tools.cli import app\napp()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments,
        cwd=processes.ROOT,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120", **settings},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    text = output.decode()
    assert "Traceback" not in text, text
    assert process.returncode is not None
    return Ended(process.returncode, text)


@contextmanager
def serving(port: int, settings: dict[str, str], *options: str) -> Iterator[str]:
    """The function's URL while the app is served."""
    with processes.app(port, settings, *options) as child:
        yield child.address
