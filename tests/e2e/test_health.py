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
from shared.core.routing import RoutesError
from shared.monitoring.health import REUSE_SECONDS, WAIT_SECONDS, Health
from shared.settings import SettingsError
from shared.storage.queues import StorageQueues
from tests.support.commands import Command
from tools.localhost import processes
from tools.localhost.ports import free_port

QUEUES = ["acr-push", "acr-delete", "acr-chart-push", "acr-chart-delete", "acr-quarantine",
          "acr-rejected"]  # fmt: skip


def _app(connection: str) -> App:
    return App.from_environment({"AcrEventsStorage": connection})


def _health(app: App) -> Health:
    return Health(lambda: (app.routes.queues, app.queues))


async def test_anyone_may_ask_and_a_sound_app_says_200_with_every_check(
    http: aiohttp.ClientSession, function_url: str
) -> None:
    url = function_url.replace("AcrWebhook", "health")
    async with http.get(url) as response:
        assert response.status == 200
        document = await response.json()
    expected = ["settings", "routes", *(f"queue {name}" for name in QUEUES)]
    assert document == {"status": "ok", "checks": dict.fromkeys(expected, "ok")}
    async with http.post(url) as response:
        assert response.status == 404


@pytest.mark.timing
async def test_storage_that_does_not_answer_is_503_within_two_seconds_and_names_the_queues(
    proxy_stalled: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = _app(proxy_stalled)
    started = time.monotonic()
    answer = await _health(app).respond()
    assert time.monotonic() - started < WAIT_SECONDS + 0.5
    document = json.loads(answer.body)
    assert (answer.status, document["status"]) == (503, "failed")
    assert document["checks"]["settings"] == "ok"
    assert [name for name, state in document["checks"].items() if state == "failed"] == [
        f"queue {name}" for name in QUEUES
    ]
    # The reason is in the log, not in the answer.
    assert "acr_health acr-push: Storage did not answer in time" in caplog.text
    assert processes.ACCOUNT not in answer.body.decode()
    assert "127.0.0.1" not in answer.body.decode()
    await app.queues.close()


async def test_a_wrong_key_is_503_and_is_shown_nowhere(
    azurite: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "bm90LXRoZS1rZXk="
    app = _app(azurite.replace(processes.KEY, wrong))
    answer = await _health(app).respond()
    assert answer.status == 503
    assert wrong not in answer.body.decode() + caplog.text
    assert processes.ACCOUNT not in answer.body.decode() + caplog.text
    await app.queues.close()


def test_served_with_a_setting_that_cannot_be_used_it_still_answers_and_names_it(
    app: Path,
) -> None:
    shutil.rmtree(app / "AcrWebhook")  # which would not load, and stop this host
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


@pytest.mark.parametrize(
    ("error", "checks"),
    [
        (SettingsError("ACR_X: bad"), {"settings": "failed"}),
        (RoutesError("routes.json: bad"), {"settings": "ok", "routes": "failed"}),
    ],
)
async def test_settings_or_routes_that_cannot_be_used_are_503_and_named(
    error: Exception, checks: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> tuple[list[str], StorageQueues]:
        raise error

    answer = await Health(make).respond()
    assert answer.status == 503
    assert json.loads(answer.body) == {"status": "failed", "checks": checks}
    assert str(error) in caplog.text


async def test_a_result_is_reused_so_that_asking_cannot_load_the_account(azurite: str) -> None:
    app = _app(azurite)
    made = 0

    def make() -> tuple[list[str], StorageQueues]:
        nonlocal made
        made += 1
        return app.routes.queues, app.queues

    health = Health(make)
    answers = await asyncio.gather(*(health.respond() for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    await health.respond()
    assert made == 1
    health._checked_at -= REUSE_SECONDS
    await health.respond()
    assert made == 2
    await app.queues.close()


async def test_a_caller_that_goes_away_does_not_end_the_check_of_others(azurite: str) -> None:
    app = _app(azurite)
    health = _health(app)
    first = asyncio.create_task(health.respond())
    await asyncio.sleep(0)
    first.cancel()
    assert (await health.respond()).status == 200
    await app.queues.close()


@pytest.fixture
async def proxy_stalled() -> AsyncIterator[str]:
    """The connection string of an account that takes connections and never answers."""

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(never, "127.0.0.1", port)
    yield processes.connection_string(port)
    server.close()
