"""The commands that a newcomer types."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from rich.console import Console

from tests.support.commands import Command, Ended, run_tools
from tests.support.servers import Listen
from tests.support.storage import StorageAccount
from tools import demo, examples
from tools.localhost import processes
from tools.localhost.function_app import ToolError
from tools.localhost.ports import free_azurite_port, free_port


def _listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_demo_shows_every_event_type_and_a_rejected_delivery_where_each_belongs() -> None:
    result = run_tools("demo")
    assert result.status == 0, result.errors
    for action in examples.actions():
        status = 200 if action == "ping" else 202
        assert re.search(rf"│ {action} +│ {status} ", result.output)
    assert re.search(r"│ push, bad +│ 422 ", result.output)
    for queue, subject in {
        "acr-push": "hello-world:v1",
        "acr-delete": "hello-world",
        "acr-quarantine": "helloworld:1",
        "acr-chart-push": "wordpress:5.4.0.tgz",
        "acr-chart-delete": "wordpress:5.4.0.tgz",
        "acr-rejected": "/request is required",
    }.items():
        assert re.search(rf"│ {queue} +│ [^│]+│ {re.escape(subject)}", result.output)
    assert "each where it belongs" in result.output


PUSH = examples.documented("push")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([demo.Step("push", PUSH, 202, ["acr-delete"])], "push: is not on acr-delete"),
        ([demo.Step("push", PUSH, 422, ["acr-push"])], "push: answered 202, not 422"),
        ([demo.Step("push", PUSH, 202, [])], "1 messages are on the queues, not 0"),
    ],
)
def test_demo_fails_loudly_when_anything_differs(
    steps: list[demo.Step],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    azurite: str,
    function_url: str,
    storage: StorageAccount,
) -> None:
    monkeypatch.setattr(demo, "steps", lambda _: steps)
    with pytest.raises(ToolError, match=says):
        asyncio.run(demo.run(function_url, azurite, {}, Console(quiet=True)))


def _start(port: int, queue_port: int, **settings: str) -> Command:
    ports = ("--port", str(port), "--queue-port", str(queue_port))
    return Command("start", *ports, settings=settings)


def _stop(command: Command, port: int, queue_port: int, number: int = signal.SIGTERM) -> Ended:
    """Stops `start`. It must leave nothing running, and its data goes."""
    command.stop(signal.Signals(number))
    ended = command.wait()
    assert not _listening(port)
    assert not _listening(queue_port)
    shutil.rmtree(processes.ROOT / ".azurite" / f"start-{queue_port}")
    return ended


@contextmanager
def _started(**settings: str) -> Iterator[tuple[str, int]]:
    """`start` on ports of its own: what it wrote until it was ready, and the app's port."""
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port, **settings)
    try:
        yield command.until("Ctrl-C"), port
    finally:
        _stop(command, port, queue_port)


@pytest.mark.parametrize("columns", ["40", "80"])
def test_start_prints_commands_that_work_as_they_stand_in_any_terminal(columns: str) -> None:
    with _started(COLUMNS=columns) as (said, _):
        commands = said.replace("\\\n", " ").splitlines()
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_start_serves_until_it_is_told_to_stop_and_leaves_nothing_running(number: int) -> None:
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port)
    command.until("Ctrl-C")
    assert _listening(port)
    assert _listening(queue_port)
    ended = _stop(command, port, queue_port, number)
    assert ended.status == (130 if number == signal.SIGINT else 128 + number)


def test_start_stopped_while_it_starts_leaves_nothing_running() -> None:
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port)
    while not _listening(queue_port):
        time.sleep(0.05)
    assert _stop(command, port, queue_port).status == 128 + signal.SIGTERM


def test_start_says_so_when_a_part_of_it_ends_by_itself() -> None:
    port, queue_port = free_port(), free_azurite_port()
    command = _start(port, queue_port)
    command.until("Ctrl-C")
    [child] = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if f"host\0--port\0{port}\0".encode() in _command_line(folder)
    ]
    os.kill(child, signal.SIGKILL)
    ended = command.wait()
    assert ended.status == 1
    assert "The app has ended by itself" in ended.errors
    shutil.rmtree(processes.ROOT / ".azurite" / f"start-{queue_port}")


def _command_line(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


FUNC = """#!/bin/sh
# Stands in for Core Tools: starts a host the way they do, as a child of its own.
echo "func was called: $*"
test "$FUNCTIONS_WORKER_RUNTIME" = python || exit 9
python -c 'import azure_functions_runtime_v1' || exit 9
python -m tools host --port "$3" &
wait
"""


def test_start_takes_core_tools_where_they_are_installed(tmp_path: Path) -> None:
    func = tmp_path / "func"
    func.write_text(FUNC)
    func.chmod(0o755)
    with _started(PATH=f"{tmp_path}:{os.environ['PATH']}") as (said, port):
        assert f"func was called: start --port {port}" in said
        assert "The function answers" in said


def test_a_proxy_in_the_environment_does_not_come_between() -> None:
    nowhere = "http://127.0.0.1:9"
    result = run_tools("demo", http_proxy=nowhere, HTTP_PROXY=nowhere, NO_PROXY="", no_proxy="")
    assert result.status == 0, result.errors


@pytest.mark.parametrize(
    ("values", "routes"),
    [
        ('{"Values": {"ACR_BUDGET_SECONDS": "x", "ACR_REGISTRIES": "other.azurecr.io"}}', None),
        (None, '{"routes": [{"queue": "all"}, {"queue": "more"}], "rejectedQueue": "bad-ones"}'),
    ],
)
def test_demo_does_not_depend_on_local_settings_and_follows_the_routes(
    app: Path, values: str | None, routes: str | None
) -> None:
    if values:
        (app / "local.settings.json").write_text(values)
    if routes:
        (app / "routes.json").write_text(routes)
    (app / "node_modules").symlink_to(processes.ROOT / "node_modules")
    result = Command("demo", folder=app, settings={}).wait()
    assert result.status == 0, result.errors
    assert "each where it belongs" in result.output


@pytest.mark.parametrize("option", ["--port", "--queue-port"])
def test_start_on_a_port_in_use_says_which_and_what_to_do(option: str) -> None:
    ports = {"--port": free_port(), "--queue-port": free_azurite_port()}
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports[option] = server.getsockname()[1]
        result = run_tools("start", *(str(part) for pair in ports.items() for part in pair))
    assert result.status == 1
    assert f"cannot listen on port {ports[option]}" in result.errors
    assert ("QUEUE_PORT=" if option == "--queue-port" else " PORT=") in result.errors
    assert not _listening(ports["--queue-port"])


@pytest.mark.parametrize("action", examples.actions())
def test_send_posts_an_example_and_shows_the_answer(
    function_url: str, storage: StorageAccount, action: str
) -> None:
    result = run_tools("send", action, "--url", function_url)
    assert result.status == 0, result.errors
    status, answer = result.output.split("\n", 1)
    assert status == ("200" if action == "ping" else "202")
    assert json.loads(answer)["id"] == examples.documented(action)["id"]


async def test_send_repeats_under_ids_of_their_own(
    function_url: str, storage: StorageAccount
) -> None:
    result = run_tools("send", "push", "--repeat", "50", "--url", function_url)
    assert (result.status, result.output) == (0, "50 × 202\n")
    assert len({event["id"] for event in await storage.documents("acr-push")}) == 50


async def test_send_speaks_for_the_registry_it_is_told(
    function_url: str, storage: StorageAccount
) -> None:
    for action in ("push", "chart_push"):
        result = run_tools(
            "send", action, "--registry", "contoso.azurecr.io", "--url", function_url
        )
        assert "https://contoso.azurecr.io" in result.output


def test_send_without_a_listener_says_so() -> None:
    result = run_tools("send", "push", "--url", processes.function_url(free_port()))
    assert result.status == 1
    assert "cannot be reached" in result.errors


@pytest.mark.parametrize("host", ["a..example", f"{'a' * 64}.example", "", "[/x]"])
def test_send_to_what_can_be_no_url_says_so(host: str) -> None:
    result = run_tools("send", "push", "--url", f"http://{host}/")
    assert result.status == 1
    assert "cannot be reached: " in result.errors


@pytest.mark.parametrize("key", ["the-key\r", "the-key\nx: y"])
def test_send_with_what_can_be_no_key_says_so_without_the_key(key: str, function_url: str) -> None:
    result = run_tools("send", "push", "--url", function_url, "--key", key)
    assert result.status == 1
    assert "cannot be reached: " in result.errors
    assert "the-key" not in result.errors


@pytest.mark.parametrize("answer", ["é".encode("latin-1"), b"[" * 100_000])
async def test_send_shows_any_answer(answer: bytes, listen: Listen) -> None:
    async def gateway(_: web.Request) -> web.Response:
        return web.Response(status=502, body=answer, content_type="text/html", charset="utf-8")

    url = f"http://127.0.0.1:{await listen(gateway)}/[/x]"
    for more in ([], ["--repeat", "2"]):
        result = await asyncio.to_thread(run_tools, "send", "push", "--url", url, *more)
        assert result.status == 1
        assert "502" in result.output


@pytest.mark.parametrize("action", ["pull", "[/bold]", "../examples"])
def test_send_of_an_unknown_action_says_which_there_are(action: str) -> None:
    result = run_tools("send", action)
    assert action in result.errors
    assert result.status == 1
    assert "quarantine" in result.errors


def test_send_that_is_refused_exits_with_1(function_url: str, storage: StorageAccount) -> None:
    result = run_tools("send", "push", "--registry", "not a host", "--url", function_url)
    assert result.status == 1
    assert result.output.startswith("422\n")


async def test_peek_shows_messages_and_leaves_them(
    function_url: str, storage: StorageAccount, azurite: str
) -> None:
    run_tools("send", "push", "--url", function_url)
    run_tools("send", "push", "--url", function_url, "--registry", "not a host")
    for _ in range(2):
        result = run_tools("peek", AcrEventsStorage=azurite)
        assert result.status == 0, result.errors
        assert "ImagePushed" in result.output
        assert "invalid-delivery (422)" in result.output
    one = run_tools("peek", "acr-push", "--json", AcrEventsStorage=azurite)
    assert [json.loads(line)["subject"] for line in one.output.splitlines()] == ["hello-world:v1"]


FOREIGN = [
    "not base64!",
    b64encode(b"\xff\xfe").decode(),
    b64encode(b"[" * 20_000).decode(),
    b64encode(b'"\\ud800"').decode(),
    b64encode(b"\x1b[31mred [bold]x[/]").decode(),
    b64encode(b'{"reason": "x", "status": 1, "errors": ["a", {"pointer": "[/]"}]}').decode(),
    b64encode(b'{"specversion": 1, "type": [], "subject": null}').decode(),
]


async def test_peek_shows_foreign_messages_too_and_nothing_a_terminal_obeys(
    storage: StorageAccount, azurite: str
) -> None:
    await storage.service.create_queue("foreign")
    client = storage.service.get_queue_client("foreign")
    for content in FOREIGN:
        await client.send_message(content)
    result = run_tools("peek", AcrEventsStorage=azurite)
    assert result.status == 0, result.errors
    assert "not base64!" in result.output
    assert "red [bold]x[/]" in result.output
    assert "\x1b" not in result.output
    as_json = run_tools("peek", "--json", AcrEventsStorage=azurite)
    assert as_json.status == 0, as_json.errors
    assert len([json.loads(line) for line in as_json.output.splitlines()]) == len(FOREIGN)


async def test_peek_says_how_many_more_there_are(
    function_url: str, storage: StorageAccount, azurite: str
) -> None:
    run_tools("send", "push", "--repeat", "40", "--url", function_url)
    assert "… and 8 more" in run_tools("peek", AcrEventsStorage=azurite).output
    assert "acr-push has 8 more" in run_tools("peek", "--json", AcrEventsStorage=azurite).errors


async def test_send_carries_the_key_in_the_header_and_keeps_to_its_concurrency(
    listen: Listen,
) -> None:
    seen: list[str | None] = []
    now = most = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        seen.append(request.headers.get("x-functions-key"))
        await asyncio.sleep(0.02)
        now -= 1
        return web.json_response({"ok": True}, status=202)

    url = f"http://127.0.0.1:{await listen(answer)}/"
    result = await asyncio.to_thread(
        run_tools, "send", "push", "--url", url, "--repeat", "30", "--concurrency", "3",
        ACR_WEBHOOK_KEY="the-key",
    )  # fmt: skip
    assert result.status == 0, result.errors
    assert seen == ["the-key"] * 30
    assert most <= 3
    assert "the-key" not in result.output + result.errors


def test_peek_of_a_queue_that_is_not_there_says_so(azurite: str, storage: StorageAccount) -> None:
    result = run_tools("peek", "no-such-queue", AcrEventsStorage=azurite)
    assert result.status == 1
    assert "There is no queue no-such-queue." in result.errors
    assert "There is no queue yet" in run_tools("peek", AcrEventsStorage=azurite).output


def test_peek_without_storage_names_the_setting_or_the_trouble() -> None:
    broken = run_tools("peek", AcrEventsStorage="AccountName=a;AccountKey=c2VjcmV0*")
    assert broken.status == 1
    assert "AcrEventsStorage: its account key is not base64" in broken.errors
    nothing = run_tools("peek", AcrEventsStorage="", AzureWebJobsStorage="")
    assert "taking Azurite on port 10001" in nothing.errors
    nobody = run_tools("peek", "--queue-port", str(free_port()))
    assert nobody.status == 1
    assert "The queues cannot be read" in nobody.errors
    assert processes.KEY not in nobody.errors


@pytest.mark.parametrize("command", [[], ["host"], ["start"], ["demo"], ["send"], ["peek"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    result = run_tools(*command, "--help")
    assert result.status == 0
    assert "Usage: python -m tools" in result.output


def test_routes_check_says_what_is_wrong_and_ends_with_1(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [{"queue": "acr-push", "action": []}], "rejectedQueue": "r-r"}')
    result = run_tools("routes", "check", "--file", str(file))
    assert result.status == 1
    assert "/routes/0/action: is not known; known are: name, queue, actions" in result.errors


def test_routes_check_says_which_actions_no_route_takes(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [{"queue": "one", "actions": ["*push"]}], "rejectedQueue": "r-r"}')
    result = run_tools("routes", "check", "--file", str(file))
    assert result.status == 0
    assert re.findall(r"No route takes (\w+)\.", result.output) == [
        "delete", "quarantine", "chart_delete"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["push", "team-a/web:v1"], 0, "tags: v1"),
        (["push", "team-a/web:v1"], 0, "registries: myregistry.azurecr.io"),
        (["push", f"web@sha256:{'a' * 64}"], 0, "tags: (none)"),
        (["chart_push", "charts/web:1"], 0, "registries: (none)"),
        (["chart_push", "c:1", "--registry", "Contoso.azurecr.io"], 0, "contoso.azurecr.io"),
        (["push", "web:v1", "--media-type", "a/b"], 0, "mediaTypes: a/b"),
        (["delete", "web:v1"], 1, "A delete has no tag."),
        (["ping", "web:v1"], 1, "'ping' raises no event; these do: push"),
        (["push", "web@latest"], 1, "/target/digest is not a valid content digest"),
        (["chart_push", "c:1", "--registry", "/"], 1, '"/" is not a host name'),
        (["push", "contoso.azurecr.io/web:v1"], 1, "web:v1 --registry contoso.azurecr.io"),
        (["push", "localhost:5000/web:v1"], 1, "web:v1 --registry localhost:5000"),
        (["push", "my.team/web:v1", "--registry", "a.azurecr.io"], 0, "repositories: my.team/web"),
    ],
)
def test_routes_explain_shows_what_the_filters_see(
    arguments: list[str], status: int, says: str
) -> None:
    result = run_tools("routes", "explain", *arguments, ACR_REGISTRIES="")
    assert result.status == status
    assert says in result.output + result.errors


def test_routes_explain_takes_the_registries_that_the_app_would_take() -> None:
    only = "contoso.azurecr.io"
    result = run_tools("routes", "explain", "chart_push", "c:1", ACR_REGISTRIES=only)
    assert "registries: contoso.azurecr.io" in result.output
    other = ("push", "web:v1", "--registry", "x.azurecr.io")
    result = run_tools("routes", "explain", *other, ACR_REGISTRIES=only)
    assert result.status == 1
    assert "The app would refuse that." in result.errors


def test_routes_explain_ends_with_1_where_no_route_takes_the_event(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [{"queue": "one", "tags": ["v*"]}], "rejectedQueue": "r-r"}')
    result = run_tools("routes", "explain", "push", "web:latest", "--file", str(file))
    assert result.status == 1
    assert 'tags: "latest" is none of: v*' in result.output
    assert "No route takes it." in result.output
