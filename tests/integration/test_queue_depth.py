"""QueueDepth: the log lines that alerts on unread events query."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from shared.app import App
from shared.core.routing import Routes
from shared.log import QUEUE
from shared.monitoring import queue_depth
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port


def _lines(text: str) -> dict[str, dict[str, Any]]:
    """The log lines about queues in `text`, by queue."""
    parts = [line.split(f"{QUEUE} ", 1) for line in text.splitlines()]
    documents = [json.loads(part[1]) for part in parts if len(part) == 2]
    lines = {document["queue"]: document for document in documents}
    assert len(lines) == len(documents)
    return lines


async def _report(connection: str, caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, Any]]:
    app = App.from_environment({"AcrEventsStorage": connection})
    caplog.clear()
    with caplog.at_level(logging.INFO, "acr_webhook"):
        await queue_depth.report(app.routes, app.queues)
    await app.queues.close()
    return _lines(caplog.text)


async def test_each_queue_reports_messages_and_age(
    storage: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """The report has the message count of each queue and the age of its oldest message."""
    queue = await storage.service.create_queue("acr-push")
    await storage.service.create_queue("acr-rejected")
    await queue.send_message("old")
    await asyncio.sleep(2.1)
    for _ in range(39):
        await queue.send_message("new")
    lines = await _report(storage.connection, caplog)
    assert lines.keys() == set(Routes.load({}).queues)
    assert lines["acr-push"].pop("oldest_seconds") in range(2, 60)
    assert lines["acr-push"] == {"queue": "acr-push", "rejected": False, "messages": 40}
    empty = {"messages": 0, "oldest_seconds": 0}
    assert lines["acr-rejected"] == {"queue": "acr-rejected", "rejected": True, **empty}
    # The app creates a queue when it sends to it first, so this one does not exist.
    assert lines["acr-delete"] == {"queue": "acr-delete", "rejected": False, **empty}


async def test_hidden_message_has_no_age(
    storage: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """The report counts a message that a reader holds, but gives it no age."""
    queue = await storage.service.create_queue("acr-push")
    await queue.send_message("old")
    await queue.receive_message(visibility_timeout=60)
    await asyncio.sleep(1.1)
    line = (await _report(storage.connection, caplog))["acr-push"]
    assert (line["messages"], line["oldest_seconds"]) == (1, 0)


async def test_released_message_keeps_its_age(
    storage: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that becomes visible again keeps its age."""
    queue = await storage.service.create_queue("acr-push")
    await queue.send_message("old")
    await queue.receive_message(visibility_timeout=1)
    await asyncio.sleep(2.1)
    await queue.send_message("new")
    line = (await _report(storage.connection, caplog))["acr-push"]
    assert line["messages"] == 2
    assert line["oldest_seconds"] in range(2, 60)


async def test_unreachable_storage_reports_each_queue(caplog: pytest.LogCaptureFixture) -> None:
    """If the app cannot reach Storage, the report has an error for each queue."""
    lines = await _report(processes.connection_string(free_port()), caplog)
    assert len(lines) == 6
    for queue, line in lines.items():
        error = f"{queue}: Storage cannot be reached"
        assert line == {"queue": queue, "rejected": queue == "acr-rejected", "error": error}


def test_timer_reports_under_the_runtime(azurite: str) -> None:
    """Under the runtime, the timer function reports each queue."""
    command = ["host", "--port", str(free_port()), "--timers-at-once"]
    settings = {"AcrEventsStorage": azurite, "AcrReconcileSchedule": "0 0 0 1 1 *"}
    with subprocess.Popen(
        [sys.executable, "-m", "tools", *command],
        cwd=processes.ROOT, env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr
        text = ""
        while text.count(f"{QUEUE} ") < 6:
            assert process.poll() is None, text
            text += process.stderr.readline()
        process.terminate()
    assert len(_lines(text)) == 6
