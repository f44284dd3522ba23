"""Runs `python -m tools` in processes that start fast.

A server that has imported third-party packages, and nothing of this project, forks them: the
imports take longer than most commands. The server trusts the tests' own certificates, as packages
read the trusted ones when they are imported.
"""

import asyncio
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.certificates import certificates

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_SECONDS = 120

_PRELOADED = [
    "azure.data.tables.aio",
    "azure.identity.aio",
    "azure.mgmt.containerregistry.aio",
    "azure.storage.queue.aio",
    "azure_functions_runtime_v1",
    "croniter",
    "jsonschema",
    "rich.progress",
    "rich.table",
    "typer.rich_utils",
]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and what it wrote."""

    status: int
    output: str
    errors: str


class Command:
    """A command that runs until it ends by itself or is stopped."""

    def __init__(
        self, *arguments: str, folder: Path = ROOT, settings: Mapping[str, str], patch: str = ""
    ) -> None:
        """Starts it in `folder`. `patch` is Python source that runs before it."""
        self._written = TemporaryDirectory(prefix="command")
        self._output, self._errors = (Path(self._written.name, name) for name in ("out", "err"))
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", **settings}
        files = str(self._output), str(self._errors)
        self._process = _server().Process(
            target=_run, args=(arguments, str(folder), environment, patch, files)
        )
        self._process.start()

    def stop(self, number: signal.Signals) -> None:
        """Sends it the signal `number`."""
        assert self._process.pid
        os.kill(self._process.pid, number)

    def until(self, text: str) -> str:
        """Waits until both streams together contain `text`. Returns what it has written."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text not in (written := "".join(self._read())):
            assert self._process.is_alive(), f"It ended without {text!r}.\n{written}"
            assert time.monotonic() < deadline, f"It did not write {text!r}.\n{written}"
            time.sleep(0.02)
        return written

    def wait(self, *, traceback_allowed: bool = False) -> Ended:
        """Waits until it ends. It must not print a traceback, unless `traceback_allowed`."""
        self._process.join(TIMEOUT_SECONDS)
        status = self._process.exitcode
        self._process.kill()
        output, errors = self._read()
        self._written.cleanup()
        assert status is not None, f"It did not end.\n{output}{errors}"
        assert traceback_allowed or "Traceback" not in errors, errors
        return Ended(status, output, errors)

    def _read(self) -> tuple[str, str]:
        files = (self._output, self._errors)
        output, errors = (file.read_text() if file.exists() else "" for file in files)
        return output, errors

    async def ended(self) -> Ended:
        """The same as `wait`, while this event loop serves its requests."""
        return await asyncio.to_thread(self.wait)


def run_tools(*arguments: str, **settings: str) -> Ended:
    """Runs `python -m tools` with `arguments` until it ends."""
    return Command(*arguments, settings=settings).wait()


async def run_tools_async(*arguments: str, **settings: str) -> Ended:
    """The same as `run_tools`, while this event loop serves the command's requests."""
    return await Command(*arguments, settings=settings).ended()


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificates() / "ca.pem")
    try:
        from multiprocessing import forkserver

        forkserver.ensure_running()
    finally:
        del os.environ["SSL_CERT_FILE"]
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before
    return context


def _run(
    arguments: tuple[str, ...],
    folder: str,
    environment: dict[str, str],
    patch: str,
    files: tuple[str, str],
) -> None:
    """Runs the command in the forked process."""
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [folder, *(each for each in sys.path if each not in ("", str(ROOT)))]
    sys.argv = ["tools", *arguments]
    if _served_folder(arguments, folder) == str(ROOT):
        from tests.support.routes import use_shipped_routes

        use_shipped_routes()
    exec(patch, {})  # noqa: S102 (the test's own)
    runpy.run_module("tools", run_name="__main__", alter_sys=True)


def _served_folder(arguments: tuple[str, ...], folder: str) -> str:
    """The folder of the app that the command loads."""
    return arguments[arguments.index("--app") + 1] if "--app" in arguments else folder
