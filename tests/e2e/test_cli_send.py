"""The command `send`."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.support.commands import run_tools
from tests.support.servers import Listen
from tests.support.storage import StorageAccount
from tools import examples
from tools.localhost import processes
from tools.localhost.ports import free_port


@pytest.mark.parametrize("action", examples.actions())
def test_send_prints_response_to_example(
    function_url: str, storage: StorageAccount, action: str
) -> None:
    """`send` posts the example of an action and prints the response."""
    result = run_tools("send", action, "--url", function_url)
    assert result.status == 0, result.errors
    status, response = result.output.split("\n", 1)
    assert status == ("200" if action == "ping" else "202")
    assert json.loads(response)["id"] == examples.documented(action)["id"]


async def test_send_repeat_uses_unique_ids(function_url: str, storage: StorageAccount) -> None:
    """`send --repeat` gives each delivery its own id."""
    result = run_tools("send", "push", "--repeat", "50", "--url", function_url)
    assert (result.status, result.output) == (0, "50 × 202\n")
    assert len({event["id"] for event in await storage.documents("acr-push")}) == 50


async def test_send_uses_given_registry(function_url: str, storage: StorageAccount) -> None:
    """`send --registry` sends a delivery of the given registry."""
    for action in ("push", "chart_push"):
        result = run_tools(
            "send", action, "--registry", "contoso.azurecr.io", "--url", function_url
        )
        assert "https://contoso.azurecr.io" in result.output


DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("action", "reference", "queue", "expected"),
    [
        ("push", "team/web:v1.2", "acr-push",
         {"repository": "team/web", "tag": "v1.2", "size": 524}),
        ("push", f"web:v1@{DIGEST}", "acr-push", {"tag": "v1", "digest": DIGEST}),
        ("push", f"web@{DIGEST}", "acr-push", {"tag": None, "digest": DIGEST}),
        ("quarantine", "web:2", "acr-quarantine", {"repository": "web", "tag": "2"}),
        ("delete", f"web@{DIGEST}", "acr-delete", {"repository": "web", "digest": DIGEST}),
        ("chart_push", "nginx:1.2.3", "acr-chart-push",
         {"name": "nginx", "version": "1.2.3", "tag": "nginx-1.2.3", "repository": "repo"}),
    ],
)  # fmt: skip
async def test_send_puts_reference_into_example(
    function_url: str, storage: StorageAccount, action: str, reference: str, queue: str,
    expected: dict[str, Any],
) -> None:  # fmt: skip
    """`send` with a reference sends an event about it, with an id of its own each time."""
    for _ in range(2):
        result = run_tools("send", action, reference, "--url", function_url)
        assert result.status == 0, result.errors
    events = await storage.documents(queue)
    for event in events:
        target = event["data"]["target"]
        assert {name: target.get(name) for name in expected} == expected
    assert len({event["id"] for event in events} | {examples.documented(action)["id"]}) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ping", "web:v1"], "A ping is about no image: leave out 'web:v1'."),
        (["delete", "web:v1"], "A delete has no tag."),
        (["chart_push", "wordpress"], "Name a chart and its version, as in wordpress:5.4.0.tgz."),
        (["push", "x.azurecr.io/web:v1"], "web:v1 --registry x.azurecr.io"),
        ([], "Name either an action or a --file."),
        (["push", "--file", "README.md"], "Name either an action or a --file."),
        (["push", "--url", "http://127.0.0.1:1", "--port", "1"], "Name either a --url or a --port"),
    ],
)
def test_send_names_wrong_argument(arguments: list[str], says: str) -> None:
    """`send` exits with 1 and says which argument is wrong."""
    result = run_tools("send", *arguments)
    assert (result.status, result.output) == (1, "")
    assert says in result.errors


@pytest.mark.parametrize("content", [b'{"action": "push"}\n', b"\xff\x00{\r\n", b""])
async def test_send_file_sends_exact_bytes(content: bytes, tmp_path: Path, listen: Listen) -> None:
    """`send --file` sends the bytes of the file, and the registry as a parameter alone."""
    seen = []

    async def receive(request: web.Request) -> web.Response:
        seen.append((await request.read(), request.query.get("registry")))
        return web.json_response({}, status=202)

    (tmp_path / "delivery.json").write_bytes(content)
    url = f"http://127.0.0.1:{await listen(receive)}/"
    result = await asyncio.to_thread(
        run_tools, "send", "--file", str(tmp_path / "delivery.json"), "--registry", "x.azurecr.io",
        "--url", url,
    )  # fmt: skip
    assert result.status == 0, result.errors
    assert seen == [(content, "x.azurecr.io")]


def test_send_reaches_given_port(function_url: str, storage: StorageAccount) -> None:
    """`send --port` sends to the app on this port."""
    port = urlsplit(function_url).port
    assert run_tools("send", "push", "--port", str(port)).output.startswith("202\n")


def test_send_asks_for_start() -> None:
    """`send` exits with 1 and asks in one line about `make start` if nothing listens."""
    port = free_port()
    result = run_tools("send", "push", "--port", str(port))
    assert result.status == 1
    assert result.errors.strip() == (
        f"Error: Nothing listens at {processes.function_url(port)}. "
        "Does `make start` run, and on this port?"
    )


@pytest.mark.parametrize("host", ["a..example", f"{'a' * 64}.example", "", "[/x]"])
def test_send_reports_invalid_url(host: str) -> None:
    """`send` fails with an error if the URL has an invalid host."""
    result = run_tools("send", "push", "--url", f"http://{host}/")
    assert result.status == 1
    assert "cannot be reached: " in result.errors


@pytest.mark.parametrize("key", ["the-key\r", "the-key\nx: y"])
def test_send_error_hides_invalid_key(key: str, function_url: str) -> None:
    """The error for an invalid key does not contain the key."""
    result = run_tools("send", "push", "--url", function_url, "--key", key)
    assert result.status == 1
    assert "cannot be reached: " in result.errors
    assert "the-key" not in result.errors


@pytest.mark.parametrize("body", ["é".encode("latin-1"), b"[" * 100_000])
async def test_send_shows_any_response_status(body: bytes, listen: Listen) -> None:
    """`send` prints the status of a response whose body it cannot decode."""

    async def gateway(_: web.Request) -> web.Response:
        return web.Response(status=502, body=body, content_type="text/html", charset="utf-8")

    url = f"http://127.0.0.1:{await listen(gateway)}/[/x]"
    for more in ([], ["--repeat", "2"]):
        result = await asyncio.to_thread(run_tools, "send", "push", "--url", url, *more)
        assert result.status == 1
        assert "502" in result.output


@pytest.mark.parametrize("action", ["pull", "[/bold]", "../examples"])
def test_send_lists_known_actions(action: str) -> None:
    """The error for an unknown action lists the known actions."""
    result = run_tools("send", action)
    assert action in result.errors
    assert result.status == 1
    assert "quarantine" in result.errors


def test_send_rejected_delivery_exits_1(function_url: str, storage: StorageAccount) -> None:
    """`send` exits with 1 if the app rejects the delivery."""
    result = run_tools("send", "push", "--registry", "not a host", "--url", function_url)
    assert result.status == 1
    assert result.output.startswith("422\n")


async def test_send_uses_key_header_and_concurrency(listen: Listen) -> None:
    """`send` passes the key in a header and never exceeds its concurrency."""
    seen: list[str | None] = []
    now = most = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        seen.append(request.headers.get("x-functions-key"))
        await asyncio.sleep(0.02)
        now -= 1
        return web.json_response({"ok": True}, status=202)

    url = f"http://127.0.0.1:{await listen(respond)}/"
    result = await asyncio.to_thread(
        run_tools, "send", "push", "--url", url, "--repeat", "30", "--concurrency", "3",
        ACR_WEBHOOK_KEY="the-key",
    )  # fmt: skip
    assert result.status == 0, result.errors
    assert seen == ["the-key"] * 30
    assert most <= 3
    assert "the-key" not in result.output + result.errors
