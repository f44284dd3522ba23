"""QueueDepth: what alerts on unread events look at."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from shared import depth
from shared.ingest import Ingest
from shared.log import QUEUE
from tests.support.storage import StorageAccount
from tools import processes
from tools.ports import free_port


def _lines(text: str) -> dict[str, dict[str, Any]]:
    """The lines on queues in `text`, by queue."""
    parts = [line.split(f"{QUEUE} ", 1) for line in text.splitlines()]
    documents = [json.loads(part[1]) for part in parts if len(part) == 2]
    lines = {document["queue"]: document for document in documents}
    assert len(lines) == len(documents)
    return lines


async def _report(connection: str, caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, Any]]:
    app = Ingest.from_environment({"AcrEventsStorage": connection})
    caplog.clear()
    with caplog.at_level(logging.INFO, "acr_webhook"):
        await depth.report(app)
    await app.queues.close()
    return _lines(caplog.text)


async def test_each_queue_is_told_with_its_messages_and_the_age_of_the_oldest(
    storage: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    queue = await storage.service.create_queue("acr-push")
    await storage.service.create_queue("acr-rejected")
    await queue.send_message("old")
    await asyncio.sleep(2.1)
    for _ in range(39):
        await queue.send_message("new")
    lines = await _report(storage.connection, caplog)
    assert lines.keys() == {
        "acr-push", "acr-delete", "acr-chart-push", "acr-chart-delete", "acr-quarantine",
        "acr-rejected",
    }  # fmt: skip
    assert lines["acr-push"].pop("oldest_seconds") in range(2, 60)
    assert lines["acr-push"] == {"queue": "acr-push", "rejected": False, "messages": 40}
    nothing = {"messages": 0, "oldest_seconds": 0}
    assert lines["acr-rejected"] == {"queue": "acr-rejected", "rejected": True, **nothing}
    # One that was never needed, and so is not there.
    assert lines["acr-delete"] == {"queue": "acr-delete", "rejected": False, **nothing}


async def test_what_a_reader_has_in_hand_is_counted_but_does_not_wait(
    storage: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    queue = await storage.service.create_queue("acr-push")
    await queue.send_message("old")
    await queue.receive_message(visibility_timeout=60)
    await asyncio.sleep(1.1)
    line = (await _report(storage.connection, caplog))["acr-push"]
    assert (line["messages"], line["oldest_seconds"]) == (1, 0)


async def test_a_message_that_was_given_back_keeps_its_age(
    storage: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    queue = await storage.service.create_queue("acr-push")
    await queue.send_message("old")
    await queue.receive_message(visibility_timeout=1)
    await asyncio.sleep(2.1)
    await queue.send_message("new")
    line = (await _report(storage.connection, caplog))["acr-push"]
    assert line["messages"] == 2
    assert line["oldest_seconds"] in range(2, 60)


async def test_storage_that_cannot_be_asked_is_told_for_each_queue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = await _report(processes.connection_string(free_port()), caplog)
    assert len(lines) == 6
    for queue, line in lines.items():
        error = f"{queue}: Storage cannot be reached"
        assert line == {"queue": queue, "rejected": queue == "acr-rejected", "error": error}


def test_the_timer_reports_under_the_runtime(azurite: str) -> None:
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
