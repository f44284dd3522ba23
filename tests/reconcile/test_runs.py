"""Whole runs: an outage of the app, killed runs, and long delivery logs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.support.apps import served
from tests.support.commands import Command
from tests.support.deliveries import recent
from tests.support.registry import EVENTS, PutInFront, Reconcile, Registry
from tests.support.servers import Served
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port

# The number of the request at which the test kills a run: an even one before it reaches Storage, an
# odd one after Storage served it and before the response. Together the runs do not finish the work.
POINTS = [1, 2, 3, 4, 5, 8, 11, 14, 21, 34, 55, 88, 121, 150]
SHORT_LEASE = (
    "from datetime import timedelta\n"
    "from shared.reconcile.runner import Reconciliation\n"
    "Reconciliation.__init__.__kwdefaults__['lease_duration'] = timedelta(seconds=1)"
)


async def _events(storage: StorageAccount) -> list[dict[str, Any]]:
    queues = [name for name in await storage.queues() if name != "acr-rejected"]
    return [event for name in queues for event in await storage.documents(name)]


async def test_outage_deliveries_are_recovered_once(
    registry: Registry, storage: StorageAccount
) -> None:
    """Deliveries from an outage of the app are on their queues once after the next run."""
    actions = ("push", "delete", "chart_push", "chart_delete", "quarantine")
    arrive, miss, refused = (
        [recent(action) for action in actions * 2],
        [recent(action) for action in actions * 4],
        {**recent(), "action": "pull"},
    )
    async with _served(registry) as url:
        for delivery in (*arrive, refused):
            await registry.deliver(url, delivery, EVENTS)
    for delivery in miss:
        await registry.deliver(url, delivery, EVENTS)
    entries = registry[EVENTS].entries
    assert sum("eventResponseMessage" not in entry for entry in entries) == len(miss)

    found: list[dict[str, Any]] = []
    async with _served(registry, "--timers-at-once"):
        for _ in range(600):
            found += await _events(storage)
            if len(found) >= len(arrive) + len(miss):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
    # The run after a restart has nothing to do.
    async with _served(registry, "--timers-at-once"):
        await asyncio.sleep(3)
    found += await _events(storage)
    assert registry[EVENTS].asked >= 2
    counts = Counter(event["id"] for event in found)
    assert counts == Counter(delivery["id"] for delivery in (*arrive, *miss))
    recovered = {event["id"] for event in found if "acrrecovered" in event}
    assert recovered == {delivery["id"] for delivery in miss}
    assert len(await storage.documents("acr-rejected")) == 1


@asynccontextmanager
async def _served(registry: Registry, *options: str, **settings: str) -> AsyncIterator[str]:
    """Serves the app in a thread, because this event loop serves its requests."""
    app = served({**registry.settings, **settings}, *options)
    url = await asyncio.to_thread(app.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(app.__exit__, None, None, None)


@pytest.mark.slow
async def test_killed_run_loses_nothing(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount,
    guarded: PutInFront,
) -> None:  # fmt: skip
    """Runs that are killed at many points lose no delivery."""
    missed = [recent() for _ in range(400)]
    registry[EVENTS].entries = [registry.entry(delivery, None) for delivery in missed]
    requests = point = 0
    command: Command | None = None

    def stop() -> None:
        assert command
        command.stop(signal.SIGKILL)

    async def guard(_: web.Request, served: Served) -> web.Response:
        nonlocal requests
        requests += 1
        ends = requests == point
        if ends and point % 2 == 0:
            stop()
            return web.Response(status=500)
        response = await served()
        if ends:
            stop()
        return response

    settings = {**registry.settings, "AcrEventsStorage": await guarded(guard)}
    for point in POINTS:  # noqa: B007 (guard reads it)
        requests = 0
        command = Command("reconcile", settings=settings, patch=SHORT_LEASE)
        assert (await command.ended()).status == -signal.SIGKILL
        await asyncio.sleep(1.1)  # until the lease expires
    point = 0
    result = await reconcile(patch=SHORT_LEASE)
    assert result.status == 0, result.output
    counts = Counter(event["id"] for event in await _events(storage))
    assert set(counts) == {delivery["id"] for delivery in missed}
    assert sum(counts.values()) - len(missed) <= 8 * len(POINTS)
    assert (await reconcile()).counts == {"already recovered": len(missed)}


@pytest.mark.slow
async def test_delivered_entries_need_bounded_memory(
    registry: Registry, reconcile: Reconcile
) -> None:
    """A run over 10,000 delivered entries needs bounded memory and sends no request to Storage."""
    calls = 0

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        account = (
            f"AccountName={processes.ACCOUNT};AccountKey={processes.KEY};"
            f"QueueEndpoint=http://127.0.0.1:{port}/q;TableEndpoint=http://127.0.0.1:{port}/t"
        )
        # Not the usage of child processes: that includes the size of this process.
        patch = (
            "from shared.reconcile.runner import Reconciliation\n"
            "run = Reconciliation.run\n"
            "async def measured(self):\n"
            "    await run(self)\n"
            "    [line] = [l for l in open('/proc/self/status') if l.startswith('VmHWM')]\n"
            "    print('peak', line.split()[1])\n"
            "Reconciliation.run = measured"
        )
        peaks = []
        example = json.dumps(recent())
        for entry_count in (1_000, 10_000):
            registry[EVENTS].entries = [
                registry.entry({**json.loads(example), "id": str(number)}, "202")
                for number in range(entry_count)
            ]
            result = await reconcile(patch=patch, AcrEventsStorage=account)
            assert (result.status, result.counts) == (0, {"delivered": entry_count})
            [peak] = [line.split()[1] for line in result.output.splitlines() if "peak" in line]
            peaks.append(int(peak))
    assert calls == 0
    assert peaks[1] < peaks[0] * 1.1


async def test_deliveries_with_503_are_recovered(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run recovers deliveries that got 503 when Storage is back."""
    unreachable = processes.connection_string(free_port())
    missed = [recent() for _ in range(3)]
    async with _served(registry, AcrEventsStorage=unreachable, ACR_BUDGET_SECONDS="0.5") as url:
        for delivery in missed:
            await registry.deliver(url, delivery, EVENTS)
    statuses = {e["eventResponseMessage"]["statusCode"] for e in registry[EVENTS].entries}
    assert statuses == {"503"}
    assert (await reconcile()).counts == {"recovered": 3}
    assert {event["id"] for event in await _events(storage)} == {d["id"] for d in missed}


def test_invalid_webhooks_stop_only_reconciling() -> None:
    """The app still receives deliveries if a setting for reconciling is invalid."""
    environment = {
        "PATH": os.environ["PATH"],
        "AcrEventsStorage": "UseDevelopmentStorage=true",
        "ACR_WEBHOOKS": "/nonsense",
    }
    ends = {}
    for function in ("AcrWebhook", "Health", "AcrReconcile"):
        result = subprocess.run(
            [sys.executable, "-c", f"import {function}"],
            cwd=processes.ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        ends[function] = result.returncode
    assert ends == {"AcrWebhook": 0, "Health": 0, "AcrReconcile": 1}
    assert 'ACR_WEBHOOKS: entry 1: "/nonsense" is not the resource id' in result.stderr


def test_missing_webhooks_are_logged_once() -> None:
    """Without `ACR_WEBHOOKS`, the function logs once that there is nothing to do."""
    code = """
import asyncio, logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
import AcrReconcile
for _ in range(3):
    asyncio.run(AcrReconcile.main(None))
print("shared.reconcile.runner" in sys.modules)
"""
    environment = {"PATH": os.environ["PATH"], "AcrEventsStorage": "UseDevelopmentStorage=true"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=processes.ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.splitlines() == [
        "acr_reconcile ACR_WEBHOOKS is not set: nothing to do.",
        "False",
    ]
