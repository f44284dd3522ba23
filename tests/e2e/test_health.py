"""The health function: its checks, its responses and what it keeps secret."""

import asyncio
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import aiohttp
import pytest

from shared.app import App
from shared.core.routing import Routes, digest_of
from shared.monitoring.health import REUSE_SECONDS, WAIT_SECONDS, Checked, Health
from shared.settings import SettingsError
from tests.support.commands import Command
from tests.support.routes import SHIPPED_ROUTES
from tools.localhost import processes
from tools.localhost.ports import free_port

QUEUES = Routes.load({}).queues


def _app(connection: str) -> App:
    return App.from_environment({"AcrEventsStorage": connection})


def _health(app: App) -> Health:
    return Health(lambda: Checked(app.routes.queues, app.queues, app.misconfigured))


async def test_healthy_app_lists_every_check(
    http: aiohttp.ClientSession, function_url: str
) -> None:
    """A healthy app responds 200 with every check to an anonymous request."""
    url = function_url.replace("AcrWebhook", "health")
    async with http.get(url) as response:
        assert response.status == 200
        document = await response.json()
    expected = ["settings", "routes", *(f"queue {name}" for name in QUEUES)]
    digest = digest_of(SHIPPED_ROUTES)
    checks = dict.fromkeys(expected, "ok")
    assert document == {"status": "ok", "routesDigest": digest, "checks": checks}
    async with http.post(url) as response:
        assert response.status == 404


@pytest.mark.timing
async def test_stalled_storage_gets_503_in_time(
    stalled_storage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Stalled Storage results in 503 within two seconds, and the response names the queues."""
    app = _app(stalled_storage)
    started = time.monotonic()
    response = await _health(app).respond()
    assert time.monotonic() - started < WAIT_SECONDS + 0.5
    document = json.loads(response.body)
    assert (response.status, document["status"]) == (503, "failed")
    assert document["checks"]["settings"] == "ok"
    assert [name for name, state in document["checks"].items() if state == "failed"] == [
        f"queue {name}" for name in QUEUES
    ]
    # The reason is in the log, not in the response.
    assert "acr_health acr-push: Storage did not respond in time" in caplog.text
    assert processes.ACCOUNT not in response.body.decode()
    assert "127.0.0.1" not in response.body.decode()
    await app.queues.close()


async def test_wrong_key_stays_secret(azurite: str, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong key results in 503, and neither the response nor the log contains it."""
    wrong = "bm90LXRoZS1rZXk="
    app = _app(azurite.replace(processes.KEY, wrong))
    response = await _health(app).respond()
    assert response.status == 503
    assert wrong not in response.body.decode() + caplog.text
    assert processes.ACCOUNT not in response.body.decode() + caplog.text
    await app.queues.close()


def test_served_health_reports_invalid_setting(app: Path) -> None:
    """With an invalid setting, the served health function names the failed check in a 503."""
    shutil.rmtree(app / "AcrWebhook")  # it does not load, which stops the host
    port = free_port()
    settings = {"AcrEventsStorage": "nonsense"}
    command = Command("host", "--port", str(port), folder=app, settings=settings)
    try:
        command.until("Health:")
        with pytest.raises(HTTPError) as caught:
            urlopen(f"http://127.0.0.1:{port}/api/health", timeout=10)
        assert caught.value.code == 503
        assert json.load(caught.value) == {"status": "failed", "checks": {"settings": "failed"}}
    finally:
        command.stop(signal.SIGTERM)
        command.wait()


async def test_invalid_settings_get_503(caplog: pytest.LogCaptureFixture) -> None:
    """Invalid settings result in 503, and the response names the failed check."""
    error = SettingsError("ACR_X: bad")

    def make() -> Checked:
        raise error

    response = await Health(make).respond()
    assert response.status == 503
    assert json.loads(response.body) == {"status": "failed", "checks": {"settings": "failed"}}
    assert str(error) in caplog.text


async def test_health_reuses_recent_result(azurite: str) -> None:
    """Health reuses a recent result, so that requests do not load the account."""
    app = _app(azurite)
    made = 0

    def make() -> Checked:
        nonlocal made
        made += 1
        return Checked(app.routes.queues, app.queues)

    health = Health(make)
    responses = await asyncio.gather(*(health.respond() for _ in range(200)))
    assert {response.status for response in responses} == {200}
    await health.respond()
    assert made == 1
    health._checked_at -= REUSE_SECONDS
    await health.respond()
    assert made == 2
    await app.queues.close()


async def test_canceled_request_keeps_check_running(azurite: str) -> None:
    """A canceled request does not end the check for other requests."""
    app = _app(azurite)
    health = _health(app)
    first = asyncio.create_task(health.respond())
    await asyncio.sleep(0)
    first.cancel()
    assert (await health.respond()).status == 200
    await app.queues.close()


@pytest.fixture
async def stalled_storage() -> AsyncIterator[str]:
    """The connection string of an account that accepts connections and never responds."""

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(stall, "127.0.0.1", port)
    yield processes.connection_string(port)
    server.close()
