"""Azurite and the app as child processes, and the ports they listen on."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tools import examples
from tools.localhost.function_app import ToolError, http_path

ROOT = Path(__file__).resolve().parent.parent.parent

# The account and key of every storage emulator, as Microsoft publishes them.
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_AZURITE = ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_START_SECONDS = 60
_STOP_SECONDS = 20


@dataclass(frozen=True)
class Child:
    """A child process that listens; `address` is how to reach it."""

    name: str
    address: str
    process: subprocess.Popen[bytes]

    def require_running(self) -> None:
        """Raises ToolError where the process has ended by itself."""
        status = self.process.poll()
        if status is not None:
            raise ToolError(f"{self.name} has ended by itself, with exit status {status}.")


def connection_string(port: int) -> str:
    """The connection string of an Azurite whose queue service listens on `port`.

    Its tables are on the next one, as they are where nobody chooses ports.
    """
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"QueueEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        f"TableEndpoint=http://127.0.0.1:{port + 1}/{ACCOUNT};"
    )


def function_url(port: int) -> str:
    """The URL of the webhook's function where the app is served on `port`."""
    return f"http://127.0.0.1:{port}{http_path(ROOT, ROOT / 'AcrWebhook')}"


def bypass_proxies() -> None:
    """Bypasses the proxies in the environment for requests to this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))


@contextmanager
def azurite(port: int, data: Path, options: Sequence[str] = ()) -> Iterator[Child]:
    """Runs Azurite, its queues on `port`, its tables on the next one, which must be free too.

    Its address is its connection string. Its data is in the folder `data`. (In memory, Azurite
    stops responding at its first clean-up, a minute after its start: seen.) `options` are
    its own. Raises ToolError where it is not installed or does not start.
    """
    node = shutil.which("node")
    if node is None or not _AZURITE.exists():
        raise ToolError("Azurite is not installed: run `make install` (it needs Node.js and npm).")
    data.mkdir(parents=True, exist_ok=True)
    command = [node, str(_AZURITE), "--location", str(data), "--queuePort", str(port)]
    command += ["--blobPort", str(port - 1), "--tablePort", str(port + 1), *options]
    # The SDK uses a newer version of the API than Azurite knows (seen).
    command += ["--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    address = connection_string(port)

    def ready() -> bool:
        return listens(port) and listens(port + 1)

    with _child("Azurite", address, command, port, "QUEUE_PORT", ready) as child:
        yield child


@contextmanager
def developers_azurite(port: int) -> Iterator[Child]:
    """As `azurite`, with the data that the developer's app on this port left."""
    with azurite(port, ROOT / ".azurite" / f"start-{port}") as child:
        yield child


@contextmanager
def app(
    port: int,
    settings: Mapping[str, str],
    *options: str,
    quiet: bool = False,
    folder: Path = ROOT,
) -> Iterator[Child]:
    """Serves the app in `folder` on `port` with the host in tools/.

    Its address is its function's URL. `settings` win over the environment; local.settings.json is
    not read. `options` are the host's. Raises ToolError where it does not start.
    """
    command = [sys.executable, "-m", "tools", "host", "--port", str(port), "--no-local-settings"]
    command += ["--app", str(folder), *options]
    with _app(port, command, settings, quiet=quiet) as child:
        yield child


@contextmanager
def developers_app(port: int, settings: Mapping[str, str]) -> Iterator[Child]:
    """As `app`, but with local.settings.json, and served by Core Tools where they are installed."""
    command = [sys.executable, "-m", "tools", "host", "--port", str(port)]
    if func := shutil.which("func"):
        command = [func, "start", "--port", str(port)]
        environment = Path(sys.prefix)  # Core Tools use the Python of the active one
        settings = {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "VIRTUAL_ENV": str(environment),
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **settings,
        }
    with _app(port, command, settings, quiet=False) as child:
        yield child


@contextmanager
def _app(
    port: int, command: Sequence[str], settings: Mapping[str, str], *, quiet: bool
) -> Iterator[Child]:
    url = function_url(port)
    with _child(
        "The app", url, command, port, "PORT", lambda: _responds(url), settings, quiet=quiet
    ) as child:
        yield child


@contextmanager
def _child(
    name: str,
    address: str,
    command: Sequence[str],
    port: int,
    port_option: str,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    *,
    quiet: bool = True,
) -> Iterator[Child]:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ToolError(
            f"{name} cannot listen on port {port} ({error.strerror}). "
            f"Choose another one with {port_option}=…"
        ) from None
    with tempfile.TemporaryFile("w+") as output:
        process = None
        try:
            # A signal between the start of the child and our knowledge of it would leave it behind.
            with _signals_afterwards():
                process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=_environment(environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=output if quiet else None,
                    stderr=subprocess.STDOUT if quiet else None,
                    # Ctrl-C in the terminal reaches this process, which ends the child.
                    start_new_session=True,
                )
            deadline = time.monotonic() + _START_SECONDS
            while not is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise ToolError(f"{name} did not start.\n{output.read()[-4000:]}".strip())
                time.sleep(0.05)
            yield Child(name, address, process)
        finally:
            if process:
                _end(process)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment with `settings`. If these name a storage account, ours names none."""
    ours = dict(os.environ)
    if settings.get("AcrEventsStorage"):
        ours = {n: value for n, value in ours.items() if not n.startswith("AcrEventsStorage__")}
    return {**ours, **settings}


@contextmanager
def _signals_afterwards() -> Iterator[None]:
    """Lets signals that end this process wait until the block is done."""
    seen: list[int] = []
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    here = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, lambda sent, _: seen.append(sent)) for n in numbers if here}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for sent in seen:
        signal.raise_signal(sent)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children: with SIGTERM first, then with SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def listens(port: int) -> bool:
    """Whether a process of this machine listens on `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _responds(url: str) -> bool:
    ping = json.dumps(examples.documented("ping")).encode()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, ping, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
