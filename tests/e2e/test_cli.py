"""The commands that a newcomer types."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from tools import examples, processes
from tools.function_app import ToolError


def _tools(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        cwd=processes.ROOT,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120", **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_demo_shows_every_event_type_and_a_rejected_delivery_where_each_belongs() -> None:
    result = _tools("demo")
    assert result.returncode == 0, result.stderr
    for action in examples.actions():
        status = 200 if action == "ping" else 202
        assert re.search(rf"│ {action} +│ {status} ", result.stdout)
    assert re.search(r"│ push, bad +│ 422 ", result.stdout)
    for queue, subject in {
        "acr-push": "hello-world:v1",
        "acr-delete": "hello-world",
        "acr-quarantine": "helloworld:1",
        "acr-chart-push": "wordpress:5.4.0.tgz",
        "acr-chart-delete": "wordpress:5.4.0.tgz",
        "acr-rejected": "/request is required",
    }.items():
        assert re.search(rf"│ {queue} +│ [^│]+│ {re.escape(subject)}", result.stdout)
    assert "each where it belongs" in result.stdout


def test_demo_fails_loudly_when_anything_differs(
    monkeypatch: pytest.MonkeyPatch, azurite: str, function_url: str, storage: Any
) -> None:
    import asyncio

    from rich.console import Console

    from tools import demo

    wrong = [demo.Step("push", examples.documented("push"), 202, ["acr-delete"])]
    monkeypatch.setattr(demo, "steps", lambda: wrong)
    with pytest.raises(ToolError, match="push: is not on acr-delete"):
        asyncio.run(demo.run(function_url, azurite, Console(quiet=True)))


def test_start_serves_until_ctrl_c_and_leaves_nothing_running() -> None:
    port, queue_port = processes.free_port(), processes.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tools", "start", "--port", str(port), "--queue-port",
         str(queue_port)],
        cwd=processes.ROOT,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            break
    url = f"http://127.0.0.1:{port}/api/AcrWebhook"
    # The command that it prints works as it stands.
    [curl] = [line.split() for line in said.splitlines() if line.strip().startswith("curl")]
    assert url in curl
    reply = subprocess.run(
        curl, cwd=processes.ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert "202 Accepted" in reply.stdout

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not _listening(port)
    assert not _listening(queue_port)


def test_start_ended_by_sigterm_leaves_nothing_running() -> None:
    port, queue_port = processes.free_port(), processes.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tools", "start", "--port", str(port), "--queue-port",
         str(queue_port)],
        cwd=processes.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (_listening(queue_port)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # while it is still starting
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not _listening(port)
    assert not _listening(queue_port)


@pytest.mark.parametrize("option", ["--port", "--queue-port"])
def test_start_on_a_port_in_use_says_which_and_what_to_do(option: str) -> None:
    ports = {"--port": processes.free_port(), "--queue-port": processes.free_port()}
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports[option] = server.getsockname()[1]
        result = _tools("start", *(str(part) for pair in ports.items() for part in pair))
    assert result.returncode == 1
    assert f"cannot listen on port {ports[option]}" in result.stderr
    assert ("QUEUE_PORT=" if option == "--queue-port" else " PORT=") in result.stderr
    assert "Traceback" not in result.stderr
    assert not _listening(ports["--queue-port"])


@pytest.mark.parametrize("action", examples.actions())
def test_send_posts_an_example_and_shows_the_answer(
    function_url: str, storage: Any, action: str
) -> None:
    result = _tools("send", action, "--url", function_url)
    assert result.returncode == 0, result.stderr
    status, answer = result.stdout.split("\n", 1)
    assert status == ("200" if action == "ping" else "202")
    assert json.loads(answer)["id"] == examples.documented(action)["id"]


async def test_send_repeats_under_ids_of_their_own(function_url: str, storage: Any) -> None:
    result = _tools("send", "push", "--repeat", "50", "--url", function_url)
    assert (result.returncode, result.stdout) == (0, "50 × 202\n")
    assert len({event["id"] for event in await storage.documents("acr-push")}) == 50


async def test_send_speaks_for_the_registry_it_is_told(function_url: str, storage: Any) -> None:
    for action in ("push", "chart_push"):
        result = _tools("send", action, "--registry", "contoso.azurecr.io", "--url", function_url)
        assert "https://contoso.azurecr.io" in result.stdout


def test_send_without_a_listener_says_so() -> None:
    result = _tools("send", "push", "--url", processes.function_url(processes.free_port()))
    assert result.returncode == 1
    assert "cannot be reached" in result.stderr
    assert "Traceback" not in result.stderr


def test_send_of_an_unknown_action_says_which_there_are() -> None:
    result = _tools("send", "pull")
    assert result.returncode == 1
    assert "quarantine" in result.stderr


def test_send_that_is_refused_exits_with_1(function_url: str, storage: Any) -> None:
    result = _tools("send", "push", "--registry", "not a host", "--url", function_url)
    assert result.returncode == 1
    assert result.stdout.startswith("422\n")


async def test_peek_shows_messages_and_leaves_them(
    function_url: str, storage: Any, azurite: str
) -> None:
    _tools("send", "push", "--url", function_url)
    _tools("send", "push", "--url", function_url, "--registry", "not a host")
    for _ in range(2):
        result = _tools("peek", AcrEventsStorage=azurite)
        assert result.returncode == 0, result.stderr
        assert "ImagePushed" in result.stdout
        assert "invalid-delivery (422)" in result.stdout
    one = _tools("peek", "acr-push", "--json", AcrEventsStorage=azurite)
    assert [json.loads(line)["subject"] for line in one.stdout.splitlines()] == ["hello-world:v1"]


def test_peek_of_a_queue_that_is_not_there_says_so(azurite: str, storage: Any) -> None:
    result = _tools("peek", "no-such-queue", AcrEventsStorage=azurite)
    assert result.returncode == 1
    assert "The specified queue does not exist" in result.stderr
    assert "There is no queue yet" in _tools("peek", AcrEventsStorage=azurite).stdout


def test_peek_without_storage_names_the_setting_or_the_trouble() -> None:
    nothing = _tools("peek", AcrEventsStorage="", AzureWebJobsStorage="")
    assert nothing.returncode == 1
    assert "AcrEventsStorage is not set" in nothing.stderr
    nobody = _tools("peek", "--queue-port", str(processes.free_port()))
    assert nobody.returncode == 1
    assert "The queues cannot be read" in nobody.stderr
    assert processes.KEY not in nobody.stderr


@pytest.mark.parametrize("command", [[], ["host"], ["start"], ["demo"], ["send"], ["peek"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    result = _tools(*command, "--help")
    assert result.returncode == 0
    assert "Usage: python -m tools" in result.stdout
