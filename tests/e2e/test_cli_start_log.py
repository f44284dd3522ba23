"""`start --delivery-log`: the commands for a delivery log are tried out without Azure."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Command
from tests.support.deliveries import recent
from tools.localhost import processes
from tools.localhost.ports import free_azurite_port, free_port


@pytest.fixture
def started() -> Iterator[tuple[int, Path]]:
    """The port of the stand-in, and the folder of `start`."""
    port, queue_port = free_port(), free_azurite_port()
    folder = processes.ROOT / ".azurite" / f"start-{queue_port}"
    command = Command(
        "start", "--port", str(port), "--queue-port", str(queue_port), "--delivery-log",
        settings={},
    )  # fmt: skip
    try:
        command.until("Ctrl-C")
        yield port, folder
    finally:
        command.stop(signal.SIGTERM)
        command.wait()
        shutil.rmtree(folder)


def _settings(folder: Path) -> dict[str, str]:
    lines = (folder / "azure.env").read_text()
    return {
        name: value.strip("'") for name, value in re.findall(r"^export (\w+)=(.*)$", lines, re.M)
    }


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a new process, as aiohttp reads the certificates when it is imported."""
    environment = {**os.environ, **_settings(folder)}
    return subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        cwd=processes.ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_commands_work_with_stand_in(started: tuple[int, Path]) -> None:
    """Deliveries through the stand-in can be traced, reconciled, redelivered and audited."""
    port, folder = started
    arrived, missed = recent(), recent("delete")
    for delivery, path in ((arrived, "/api/AcrWebhook"), (missed, "/missed")):
        body = folder / "body.json"
        body.write_text(json.dumps(delivery))
        url = f"http://127.0.0.1:{port}{path}"
        curl = ["curl", "-s", "--noproxy", "*", url, "--data-binary", f"@{body}"]
        subprocess.run(curl, check=True, capture_output=True)

    assert _run(folder, "audit").returncode == 1
    reconciled = _run(folder, "reconcile", "--json")
    assert reconciled.returncode == 0, reconciled.stderr
    [report] = map(json.loads, reconciled.stdout.splitlines())
    assert report["deliveries"] == {"delivered": 1, "recovered": 1}
    redelivered = _run(folder, "redeliver", "--id", arrived["id"])
    assert redelivered.returncode == 0, redelivered.stderr
    traced = _run(folder, "trace", missed["id"], "--json")
    assert traced.returncode == 0, traced.stderr
    sources = [step["source"] for step in json.loads(traced.stdout)["steps"]]
    assert sources == ["delivery log of myregistry/local", "queue acr-delete", "ledger"]
    audited = _run(folder, "audit", "--expect-queued", "--yes", "--json")
    assert audited.returncode == 0, audited.stderr
    results = sorted(json.loads(line)["result"] for line in audited.stdout.splitlines())
    assert results == ["confirmed", "recovered"]
