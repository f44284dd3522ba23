"""Azurite and the app as child processes, and the ports they listen on."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools import examples

ROOT = Path(__file__).resolve().parent.parent

# The account and key that every storage emulator has; Microsoft publishes them.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_AZURITE = ROOT / "node_modules" / "azurite" / "dist" / "src" / "queue" / "main.js"
_START_SECONDS = 60
_STOP_SECONDS = 20


class ToolError(Exception):
    """Something the user can put right; the message says how."""


def connection_string(port: int) -> str:
    """The connection string of an Azurite whose queue service listens on `port`."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"QueueEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


def function_url(port: int) -> str:
    """The URL of the webhook's function where the app is served on `port`."""
    return f"http://127.0.0.1:{port}/api/AcrWebhook"


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def azurite(port: int, data: Path) -> Iterator[str]:
    """Runs Azurite's queue service on `port`; yields its connection string.

    Queues are kept in the folder `data`. (Azurite can keep them in memory, but then stops answering
    at its first clean-up, a minute after its start.) Raises ToolError where it is not installed or
    does not start.
    """
    node = shutil.which("node")
    if node is None or not _AZURITE.exists():
        raise ToolError("Azurite is not installed: run `make install` (it needs Node.js and npm).")
    command = [node, str(_AZURITE), "--queuePort", str(port), "--silent", "--disableTelemetry"]
    # The SDK speaks a newer version of the protocol than Azurite knows by name.
    command += ["--skipApiVersionCheck"]
    data.mkdir(parents=True, exist_ok=True)
    command += ["--location", str(data)]
    with _child("Azurite", command, port, "QUEUE_PORT", lambda: _listens(port), {}, quiet=True):
        yield connection_string(port)


@contextmanager
def app(port: int, settings: Mapping[str, str], *, quiet: bool = False) -> Iterator[str]:
    """Runs the app on `port`; yields the URL of its function, once that answers.

    Core Tools serve it where they are installed, else the host in tools/. `settings` win over the
    environment and over local.settings.json. Raises ToolError where it does not start.
    """
    command = [sys.executable, "-m", "tools", "host", "--port", str(port)]
    if func := shutil.which("func"):
        command = [func, "start", "--port", str(port)]
    url = function_url(port)
    with _child("The app", command, port, "PORT", lambda: _answers(url), settings, quiet=quiet):
        yield url


@contextmanager
def _child(
    name: str,
    command: Sequence[str],
    port: int,
    port_option: str,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str],
    *,
    quiet: bool,
) -> Iterator[None]:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ToolError(
            f"{name} cannot listen on port {port} ({error.strerror}). "
            f"Choose another one with {port_option}=…"
        ) from None
    with tempfile.TemporaryFile("w+") as output:
        # A session of its own: Ctrl-C in the terminal is for us, who end the child in good order.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise ToolError(f"{name} did not start.\n{output.read()[-4000:]}".strip())
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    ping = json.dumps(examples.documented("ping")).encode()
    try:
        with urllib.request.urlopen(url, ping, timeout=5) as response:  # noqa: S310 (our own URL)
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
