"""The operator's drill: what went wrong under load is repaired with the commands alone."""

import asyncio
import json
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.apps import served
from tests.support.commands import Command, Ended
from tests.support.deliveries import recent
from tests.support.registry import EVENTS, PutInFront, Registry
from tests.support.servers import Served
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port

REJECTED, BEFORE, DURING, AFTER = 20, 40, 20, 20
AT_A_TIME = 10


async def _deliver(registry: Registry, url: str, deliveries: list[dict[str, Any]]) -> Counter[str]:
    """Delivers under load. Returns the statuses that the registry logged."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(delivery: dict[str, Any]) -> None:
        async with gate:
            await registry.deliver(url, delivery, EVENTS)

    await asyncio.gather(*map(one, deliveries))
    entries = registry[EVENTS].entries[: len(deliveries)]
    return Counter(
        entry.get("eventResponseMessage", {}).get("statusCode", "none") for entry in entries
    )


def _mixed(count: int) -> list[dict[str, Any]]:
    return [recent("push" if number % 2 else "delete") for number in range(count)]


@pytest.mark.slow
async def test_drill_is_repaired_by_commands(
    registry: Registry, storage: StorageAccount, guarded: PutInFront, tmp_path: Path
) -> None:
    """Rejections, deleted queues and an outage under load are repaired, and nothing is missing."""
    outage = False

    async def guard(request: web.Request, served: Served) -> web.Response:
        return web.Response(status=503) if outage else await served()

    async def tool(*arguments: str) -> Ended:
        return await Command(*arguments, settings=registry.settings).ended()

    async def audit() -> tuple[int, Counter[str]]:
        ended = await tool("audit", "--expect-queued", "--yes", "--json")
        lines = map(json.loads, ended.output.splitlines())
        return ended.status, Counter(line["result"] for line in lines)

    with served({**registry.settings, "ACR_REGISTRIES": "other.azurecr.io"}) as url:
        assert await _deliver(registry, url, _mixed(REJECTED)) == {"403": REJECTED}

    connection = await guarded(guard)
    settings = {**registry.settings, "AcrEventsStorage": connection, "ACR_BUDGET_SECONDS": "2"}
    port = free_port()
    host = Command("host", "--port", str(port), "--no-local-settings", settings=settings)
    host.until("AcrWebhook:")
    url = processes.function_url(port)
    assert (await _deliver(registry, url, _mixed(BEFORE)))["202"] == BEFORE
    outage = True
    assert (await _deliver(registry, url, _mixed(DURING)))["202"] == 0
    outage = False
    for queue in ("acr-push", "acr-delete"):
        await storage.service.delete_queue(queue)
    assert (await _deliver(registry, url, _mixed(AFTER)))["202"] == AFTER
    host.stop(signal.SIGTERM)
    log = tmp_path / "log.txt"
    log.write_text(host.wait(traceback_allowed=True).errors)

    total = REJECTED + BEFORE + DURING + AFTER
    status, found = await audit()
    assert status == 1
    assert found == {
        "dead-lettered": REJECTED, "missing": BEFORE, "missed": DURING, "confirmed": AFTER,
    }  # fmt: skip

    since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
    for repair in (
        ["replay"],
        ["resend", str(log)],
        ["reconcile"],
        ["redeliver", "--since", since, "--queue", "acr-push"],
        ["redeliver", "--since", since, "--queue", "acr-delete"],
    ):
        ended = await tool(*repair)
        assert ended.status == 0, (repair, ended)
    status, found = await audit()
    assert status == 0
    assert found["missing"] + found["missed"] + found["unknown"] == 0
    assert found.total() == total
    ids = {*await storage.ids("acr-push"), *await storage.ids("acr-delete")}
    log_of = registry[EVENTS].entries
    assert ids == {entry["eventRequestMessage"]["content"]["id"] for entry in log_of}
