"""How commands print: to any terminal, to a closed pipe, and as JSON."""

import os
import subprocess
import sys

import pytest

from tests.support.deliveries import example, reject
from tests.support.storage import StorageAccount
from tools.localhost.processes import ROOT


def _start(storage: StorageAccount, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "AcrEventsStorage": storage.connection,
            "ACR_REGISTRIES": "",
            **settings,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("command", [["peek", "--json"], ["replay", "--json"], ["peek"]])
async def test_closed_pipe_ends_command(command: list[str], storage: StorageAccount) -> None:
    """A command whose output nobody reads ends without a traceback and releases its messages."""
    await reject(storage.connection, *(example("push", id=str(n), action="x") for n in range(40)))
    process = _start(storage, *command)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) in (1, 141)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
    client = storage.service.get_queue_client("acr-rejected")
    found = [m async for m in client.receive_messages(max_messages=100)]
    assert len(found) == 40


async def test_any_encoding_is_enough(storage: StorageAccount) -> None:
    """A terminal that knows only ASCII gets every character, escaped."""
    await reject(storage.connection, *(example("push", id=f"ü{n}", action="→") for n in range(40)))
    for arguments in (["peek"], ["peek", "--json"], ["--help"], ["replay"]):
        process = _start(storage, *arguments, PYTHONIOENCODING="ascii")
        output, errors = process.communicate(timeout=60)
        assert b"Traceback" not in errors
        assert output.decode("ascii")


async def test_progress_stands_apart(storage: StorageAccount) -> None:
    """Where standard error is no terminal, no progress bar stands in front of other lines."""
    await reject(storage.connection, example("push"))
    output, errors = _start(storage, "replay").communicate(timeout=60)
    assert output
    assert errors.decode().splitlines() == ["The registries that may deliver (ACR_REGISTRIES): all"]
