"""The queue and timer triggers of the local host."""

import asyncio
import json
import time
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.hosts import ENVIRONMENT, add_echo, failed_start, serving
from tests.support.storage import StorageAccount
from tools.localhost.ports import free_port

DEVELOPMENT_STORAGE = ENVIRONMENT["AzureWebJobsStorage"]
NO_OP = "def main(message: str) -> None: ..."
TIMER_TRIGGER = {"type": "timerTrigger", "name": "message", "schedule": "%EchoSchedule%"}
QUEUE_TRIGGER = {
    "type": "queueTrigger", "direction": "in", "name": "message", "queueName": "%Queue%",
    "connection": "AcrEventsStorage",
}  # fmt: skip


def test_unsupported_trigger_is_named(app: Path) -> None:
    """An unsupported trigger stops the host with an error that names the function."""
    binding = {"type": "blobTrigger", "direction": "in", "name": "blob", "path": "p"}
    add_echo(app, "def main(blob: bytes) -> None: ...", bindings=[binding])
    assert "Echo: this host knows HTTP, queue and timer triggers only" in failed_start(app)


@pytest.mark.parametrize(
    ("binding", "settings", "says"),
    [
        (
            {**QUEUE_TRIGGER, "queueName": 5},
            {"AcrEventsStorage": DEVELOPMENT_STORAGE},
            "its queue trigger",
        ),
        ({"type": "queueTrigger", "name": "message"}, {}, "'queueName' is missing"),
        (
            {**QUEUE_TRIGGER, "queueName": "q", "connection": "SOME"},
            {"SOME": "x"},
            "its queue trigger",
        ),
        ({"type": "timerTrigger", "name": "message"}, {}, "'schedule' is missing"),
        (
            {**TIMER_TRIGGER, "schedule": "0 */5 * * *  * * *"},
            {},
            "is no schedule, as 0 */5 * * * * is",
        ),
        ({**TIMER_TRIGGER, "schedule": "every day"}, {}, "'every day' is no schedule"),
    ],
)
def test_invalid_trigger_is_named(
    app: Path, binding: dict[str, Any], settings: dict[str, str], says: str
) -> None:
    """An invalid trigger stops the host with an error that names the function."""
    add_echo(app, NO_OP, bindings=[binding])
    _add_bundle(app)
    errors = failed_start(app, **{"AcrEventsStorage": "", **settings})
    assert "Echo: its " in errors
    assert says in errors


def _add_bundle(app: Path) -> None:
    host = json.loads((app / "host.json").read_bytes())
    (app / "host.json").write_text(json.dumps({**host, "extensionBundle": {}}))


def test_queue_trigger_requires_extension_bundle(app: Path) -> None:
    """The host requires an extension bundle for a queue trigger, as Azure does."""
    add_echo(app, NO_OP, bindings=[{**QUEUE_TRIGGER, "queueName": "q"}])
    assert "Echo: queue triggers need an extensionBundle" in failed_start(app)


async def test_stopped_host_finishes_message(
    app: Path, storage: StorageAccount, tmp_path: Path
) -> None:
    """A stopped host waits until a function finishes its message."""
    progress = tmp_path / "progress"
    source = f"""
import asyncio
import pathlib
import azure.functions as func

async def main(message: func.QueueMessage) -> None:
    pathlib.Path({str(progress)!r}).write_text("begun")
    await asyncio.sleep(2)
    pathlib.Path({str(progress)!r}).write_text("done")
"""
    add_echo(app, source, bindings=[QUEUE_TRIGGER])
    _add_bundle(app)
    queue = await storage.service.create_queue("work")
    await queue.send_message(b64encode(b"x").decode())
    settings = {"AcrEventsStorage": storage.connection, "Queue": "work"}
    with serving(app, free_port(), **settings):
        for _ in range(1000):
            if progress.exists():
                break
            await asyncio.sleep(0.05)
    assert progress.read_text() == "done"
    assert (await queue.get_queue_properties()).approximate_message_count == 0


@pytest.mark.parametrize(
    ("binding", "missing"),
    [
        (QUEUE_TRIGGER, "AcrEventsStorage"),
        (QUEUE_TRIGGER, "Queue"),
        (TIMER_TRIGGER, "EchoSchedule"),
    ],
)
async def test_function_without_setting_is_skipped(
    app: Path, http: aiohttp.ClientSession, binding: dict[str, Any], missing: str
) -> None:
    """The host names a function whose trigger lacks a setting and serves the others."""
    add_echo(app, NO_OP, bindings=[binding])
    _add_bundle(app)
    port = free_port()
    settings = {
        "AcrEventsStorage": DEVELOPMENT_STORAGE,
        "Queue": "q",
        "EchoSchedule": "0 0 0 1 1 *",
    }
    with serving(app, port, **{**settings, missing: ""}) as output:
        ping = (app / "tests/examples/ping/documented.json").read_bytes()
        async with http.post(f"http://127.0.0.1:{port}/api/AcrWebhook", data=ping) as response:
            assert response.status == 200
    assert f"Echo is not run: The app setting {missing} is not set." in output


async def test_timer_follows_schedule_and_option(app: Path, tmp_path: Path) -> None:
    """A timer calls its function on schedule, and once at startup with `--timers-at-once`."""
    calls = tmp_path / "calls"
    source = f"""
import pathlib
import time
import azure.functions as func

def main(message: func.TimerRequest) -> None:
    with pathlib.Path({str(calls)!r}).open("a") as file:
        print(time.time(), message.past_due, file=file)
"""
    add_echo(app, source, bindings=[TIMER_TRIGGER])
    for schedule, options, expected in (
        ("*/1 * * * * *", (), 2),
        ("0 0 0 1 1 *", (), 0),
        ("0 0 0 1 1 *", ("--timers-at-once",), 1),
    ):
        calls.write_text("")
        started = time.monotonic()
        with serving(app, free_port(), *options, EchoSchedule=schedule):
            for _ in range(1000):
                if len(calls.read_text().splitlines()) >= expected:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.2)  # for calls that must not come
        lines = calls.read_text().splitlines()
        each_second = time.monotonic() - started + 1
        most = each_second if schedule.startswith("*/1") else expected
        assert expected <= len(lines) <= most, schedule
        assert all(line.endswith(" False") for line in lines)


async def test_failing_message_becomes_poison(
    app: Path, storage: StorageAccount, tmp_path: Path
) -> None:
    """The host retries a failing message and then moves it to the poison queue."""
    attempts = tmp_path / "attempts"
    source = f"""
import pathlib
import time
import azure.functions as func

def main(message: func.QueueMessage) -> None:
    if message.get_body() == b"never":
        with pathlib.Path({str(attempts)!r}).open("a") as file:
            print(time.time(), file=file)
    if message.get_body() == b"never" or message.dequeue_count < 3:
        raise RuntimeError("try again")
"""
    add_echo(app, source, bindings=[QUEUE_TRIGGER])
    options = {"maxDequeueCount": 4, "visibilityTimeout": "00:00:01",
               "maxPollingInterval": "00:00:01"}  # fmt: skip
    host = {"version": "2.0", "extensions": {"queues": options}, "extensionBundle": {}}
    (app / "host.json").write_text(json.dumps(host))
    queue = await storage.service.create_queue("work")
    poison = storage.service.get_queue_client("work-poison")
    for content in (b"never", b"third time"):
        await queue.send_message(b64encode(content).decode())
    settings = {"AcrEventsStorage": storage.connection, "Queue": "work"}
    with serving(app, free_port(), **settings):
        for _ in range(600):
            left = (await queue.get_queue_properties()).approximate_message_count
            if "work-poison" in await storage.queues() and left == 0:
                break
            await asyncio.sleep(0.1)
        [message] = await poison.peek_messages()
    assert message.content == b64encode(b"never").decode()
    assert message.expires_on
    assert message.expires_on.year == 9999
    times = [float(line) for line in attempts.read_text().splitlines()]
    assert len(times) == 4
    assert all(later - earlier >= 0.9 for earlier, later in pairwise(times))
