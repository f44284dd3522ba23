"""The errors that stop the local host."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hosts import ENVIRONMENT, add_echo, failed_start, start_host
from tools.localhost.ports import free_port


def test_missing_connection_is_named(app: Path) -> None:
    """A missing connection stops the host with an error that names the setting."""
    errors = failed_start(app, AzureWebJobsStorage="", AcrEventsStorage="")
    assert "AcrWebhook cannot be loaded" in errors
    assert "AcrEventsStorage is not set" in errors


def test_invalid_connection_stays_secret(app: Path) -> None:
    """An invalid connection stops the host with an error that does not contain its value."""
    errors = failed_start(app, AcrEventsStorage="AccountKey=c2VjcmV0")
    assert "AcrEventsStorage: " in errors
    assert "c2VjcmV0" not in errors


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"AcrEventsStorage": "AccountName=a;AccountKey=YQ"}, "account key is not base64"),
        ({"ACR_WEBHOOKS": "[/x].io"}, '"[/x].io" is not the resource id'),
    ],
)
def test_invalid_setting_is_named(app: Path, settings: dict[str, str], says: str) -> None:
    """An invalid setting stops the host with an error that names the setting."""
    errors = failed_start(app, **settings)
    assert f"{next(iter(settings))}: " in errors
    assert says in errors


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("host.json", '{"extensions": null}'),
        ("host.json", '{"extensions": {"http": []}}'),
        ("host.json", "[]"),
        ("local.settings.json", '{"Values": null}'),
        ("local.settings.json", '{"Values": ["x"]}'),
        ("local.settings.json", '{"Values": {"A": null}}'),
        ("local.settings.json", '{"Values": {"A=B": "x"}}'),
        ("local.settings.json", '{"Values": {"A": "x\\u0000"}}'),
        ("local.settings.json", '{"Values": {"A": "\\ud800"}}'),
        ("local.settings.json", '{"Values": {"": "x"}}'),
        ("local.settings.json", "{"),
        ("AcrWebhook/function.json", "{}"),
        ("AcrWebhook/function.json", '{"bindings": [{}]}'),
        ("AcrWebhook/function.json", '{"bindings": null}'),
        ("AcrWebhook/function.json",
         '{"bindings": [{"type": "http", "name": "x", "direction": "sideways"}]}'),
        ("AcrWebhook/function.json",
         '{"bindings": [{"type": "httpTrigger", "name": "x", "methods": null}]}'),
        ("AcrWebhook/function.json",
         '{"bindings": [{"type": "httpTrigger", "name": "x", "methods": "post"}]}'),
        ("AcrWebhook/function.json", '{"bindings": [], "scriptFile": 5}'),
    ],
)  # fmt: skip
def test_invalid_app_file_is_named(app: Path, file: str, content: str) -> None:
    """An invalid file of the app stops the host with an error that names the file."""
    (app / file).write_text(content)
    assert Path(file).name in failed_start(app)


def test_unloadable_function_is_named(app: Path) -> None:
    """A function with wrong parameters stops the host with an error that names the function."""
    add_echo(app, "def main(req, other): ...")
    assert "Echo cannot be loaded" in failed_start(app)


def test_unreadable_function_json_is_named(app: Path) -> None:
    """A function.json that is not JSON stops the host with an error that names it."""
    (app / "AcrWebhook" / "function.json").write_text("{")
    assert "function.json cannot be read" in failed_start(app)


def test_host_names_port_in_use(app: Path, function_url: str) -> None:
    """The error for a port in use names the port and the option that changes it."""
    port = function_url.split(":")[2].split("/")[0]
    ended = start_host(app, int(port)).wait()
    assert ended.status == 1
    assert f"Port {port} cannot be used" in ended.errors
    assert "--port" in ended.errors


def test_app_modules_are_imported_last(app: Path, tmp_path: Path) -> None:
    """Modules on PYTHONPATH come before modules of the app, as in Azure."""
    first = tmp_path / "first"
    (first / "shared").mkdir(parents=True)
    (first / "shared" / "__init__.py").write_text("raise ImportError('another shared came first')")
    # A new process, as Python reads PYTHONPATH when it starts.
    result = subprocess.run(
        [sys.executable, "-m", "tools", "host", "--port", str(free_port())],
        cwd=app,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(first)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "another shared came first" in result.stderr
