"""The command `start`."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.settings import BUDGET_SECONDS
from tests.support.apps import copy_with_azurite
from tests.support.commands import ROOT, Command, Ended, run_tools
from tests.support.deliveries import example
from tools.localhost import processes
from tools.localhost.ports import free_azurite_port, free_port

PUSH = example("push")


def _listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _start(port: int, queue_port: int, folder: Path = ROOT, **settings: str) -> Command:
    ports = ("--port", str(port), "--queue-port", str(queue_port))
    return Command("start", *ports, folder=folder, settings=settings)


def _stop(
    command: Command, port: int, queue_port: int, number: int = signal.SIGTERM, folder: Path = ROOT
) -> Ended:
    """Stops `start`, checks that no port is open, and deletes its data."""
    command.stop(signal.Signals(number))
    ended = command.wait()
    assert not _listening(port)
    assert not _listening(queue_port)
    shutil.rmtree(folder / ".azurite" / f"start-{queue_port}")
    return ended


@contextmanager
def _started(folder: Path = ROOT, **settings: str) -> Iterator[tuple[Command, int, int]]:
    """Runs `start` on free ports until it is ready. Yields it with the ports of app and queues."""
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port, folder, **settings)
    try:
        command.until("Ctrl-C")
        yield command, port, queue_port
    finally:
        _stop(command, port, queue_port, folder=folder)


@pytest.mark.parametrize("columns", ["40", "80"])
def test_start_prints_commands_that_work(columns: str, tmp_path: Path) -> None:
    """The commands that `start` prints work unchanged in a narrow and in a wide terminal."""
    with _started(copy_with_azurite(tmp_path), COLUMNS=columns) as (command, _, _):
        output = command.until("Ctrl-C")
        assert output.startswith("Starting Azurite")
        commands = output.replace("\\\n", " ").splitlines()
        [curl] = [line for line in commands if line.strip().startswith("curl")]
        [peek] = [line for line in commands if "tools peek" in line]
        sent = subprocess.run(
            shlex.split(curl), cwd=processes.ROOT, capture_output=True, text=True, check=True
        )
        assert "202 Accepted" in sent.stdout
        arguments = shlex.split(peek)[1:]
        seen = subprocess.run(
            [sys.executable, *arguments], cwd=processes.ROOT, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert "ImagePushed" in seen.stdout


def test_start_says_when_routes_change(tmp_path: Path) -> None:
    """`start` says that a restart is needed when routes.json has changed."""
    app = copy_with_azurite(tmp_path)
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port, app)
    try:
        assert "restart to use" not in command.until("Ctrl-C")
        with (app / "routes.json").open("a") as file:
            file.write("\n")
        command.until("routes.json has changed: restart to use the new routes.")
    finally:
        _stop(command, port, queue_port, folder=app)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_start_signal_stops_all_processes(number: int) -> None:
    """A signal stops `start` and every process that it started."""
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port)
    command.until("Ctrl-C")
    assert _listening(port)
    assert _listening(queue_port)
    ended = _stop(command, port, queue_port, number)
    assert ended.status == (130 if number == signal.SIGINT else 128 + number)


def test_early_signal_stops_all_processes() -> None:
    """A signal during the startup of `start` leaves no process running."""
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port)
    while not _listening(queue_port):
        time.sleep(0.05)
    assert _stop(command, port, queue_port).status == 128 + signal.SIGTERM


def test_start_reports_ended_app() -> None:
    """`start` exits with 1 and an error if the app ends by itself."""
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port)
    command.until("Ctrl-C")
    _kill(f"host\0--port\0{port}\0")
    ended = command.wait()
    assert ended.status == 1
    assert "The app has ended by itself" in ended.errors
    shutil.rmtree(processes.ROOT / ".azurite" / f"start-{queue_port}")


def test_start_survives_lost_storage() -> None:
    """The app responds 503 in time while Azurite is gone, and stores again when it is back."""
    with _started() as (command, port, queue_port):
        assert _push(port) == (202, "acr-push")
        _kill(f"--queuePort\0{queue_port}\0")
        gone = command.until("tools azurite")
        asked = time.monotonic()
        assert _push(port) == (503, "storage-unavailable")
        assert time.monotonic() - asked < BUDGET_SECONDS + 1
        assert "The app responds 503" in gone
        assert '"outcome": "logged"' in command.until("acr_lost_delivery")
        [advice] = [line for line in gone.splitlines() if "tools azurite" in line]
        again = Command(*shlex.split(advice)[3:], settings={})
        command.until("Azurite is back")
        assert _push(port) == (202, "acr-push")
        again.stop(signal.SIGINT)
        assert again.wait().status == 130
        command.until("Azurite has ended. The app responds 503")


def _push(port: int) -> tuple[int, str]:
    """The status of a push, and its queue or the end of the problem's type."""
    url = processes.function_url(port)
    try:
        with urllib.request.urlopen(url, json.dumps(PUSH).encode()) as response:  # noqa: S310
            return response.status, json.load(response)["queues"][0]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["type"].rpartition("/")[2]


def _kill(arguments: str) -> None:
    """Kills the process that has `arguments` in its command line."""
    [child] = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if arguments.encode() in _command_line(folder)
    ]
    os.kill(child, signal.SIGKILL)


def _command_line(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


FUNC = """#!/bin/sh
# Stands in for Core Tools: starts a host as a child process, as they do.
echo "func was called: $*"
test "$FUNCTIONS_WORKER_RUNTIME" = python || exit 9
python -c 'import azure_functions_runtime_v1' || exit 9
python -m tools host --port "$3" &
wait
"""


def test_start_uses_installed_core_tools(tmp_path: Path) -> None:
    """`start` serves the app with Core Tools if they are on the PATH."""
    func = tmp_path / "func"
    func.write_text(FUNC)
    func.chmod(0o755)
    with _started(PATH=f"{tmp_path}:{os.environ['PATH']}") as (command, port, _):
        output = command.until("Ctrl-C")
        assert f"func was called: start --port {port}" in output
        assert "The function is ready" in output


@pytest.mark.parametrize("option", ["--port", "--queue-port"])
def test_start_names_port_in_use(option: str) -> None:
    """The error for a port in use names the port and the variable that changes it."""
    ports = {"--port": free_port(), "--queue-port": free_azurite_port()}
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports[option] = server.getsockname()[1]
        result = run_tools("start", *(str(part) for pair in ports.items() for part in pair))
    assert result.status == 1
    assert f"cannot listen on port {ports[option]}" in result.errors
    assert ("QUEUE_PORT=" if option == "--queue-port" else " PORT=") in result.errors
    assert not _listening(ports["--queue-port"])
