"""The command `demo`, and the help of every command."""

import asyncio
import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.apps import copy_with_azurite
from tests.support.commands import Command, run_tools
from tests.support.storage import StorageAccount
from tools import demo, examples
from tools.localhost.function_app import ToolError


@pytest.fixture
def demo_app(tmp_path: Path) -> Path:
    """A copy of the app in which the demo can run."""
    return copy_with_azurite(tmp_path)


def test_demo_shows_deliveries_and_queues(demo_app: Path) -> None:
    """The demo prints the status of each delivery and the queue of each message."""
    result = Command("demo", folder=demo_app, settings={}).wait()
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
    assert "each as expected" in result.output


PUSH = examples.documented("push")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([demo.Step("push", PUSH, 202, ["acr-delete"])], "push: is not on acr-delete"),
        ([demo.Step("push", PUSH, 422, ["acr-push"])], "push: got 202, not 422"),
        ([demo.Step("push", PUSH, 202, [])], "1 messages are on the queues, not 0"),
    ],
)
def test_demo_error_names_difference(
    steps: list[demo.Step],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    azurite: str,
    function_url: str,
    storage: StorageAccount,
) -> None:
    """The demo fails with an error that names an unexpected status, queue or message count."""
    monkeypatch.setattr(demo, "steps", lambda _: steps)
    with pytest.raises(ToolError, match=says):
        asyncio.run(demo.run(function_url, azurite, {}, Console(quiet=True)))


def test_demo_ignores_proxy_settings(demo_app: Path) -> None:
    """The demo connects directly even if the environment names a proxy."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
    settings = {**proxies, "NO_PROXY": "", "no_proxy": ""}
    result = Command("demo", folder=demo_app, settings=settings).wait()
    assert result.status == 0, result.errors


@pytest.mark.parametrize(
    ("values", "routes"),
    [
        ('{"Values": {"ACR_BUDGET_SECONDS": "x", "ACR_REGISTRIES": "other.azurecr.io"}}', None),
        (None, '{"routes": [{"queue": "all"}, {"queue": "more"}], "rejectedQueue": "bad-ones"}'),
    ],
)
def test_demo_ignores_settings_and_follows_routes(
    demo_app: Path, values: str | None, routes: str | None
) -> None:
    """The demo ignores local.settings.json and expects the queues that routes.json names."""
    if values:
        (demo_app / "local.settings.json").write_text(values)
    if routes:
        (demo_app / "routes.json").write_text(routes)
    result = Command("demo", folder=demo_app, settings={}).wait()
    assert result.status == 0, result.errors
    assert "each as expected" in result.output


@pytest.mark.parametrize(
    "command", [[], ["host"], ["start"], ["azurite"], ["demo"], ["send"], ["peek"]]
)
def test_help_shows_usage(command: list[str]) -> None:
    """Every command prints its usage with `--help`."""
    result = run_tools(*command, "--help")
    assert result.status == 0
    assert "Usage: python -m tools" in result.output
