"""Storage faults over HTTP, with the app in its own process."""

import asyncio
import json
import os
import sys

import aiohttp
import pytest

from shared.log import LOST
from tests.support.deliveries import example
from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port

DELIVERY_COUNT = 50
RESPONSE_TIMEOUT_SECONDS = 4.5


@pytest.mark.timing
async def test_http_response_arrives_despite_fault(
    proxy: FaultProxy, storage: StorageAccount
) -> None:
    """Over HTTP, responses come in time and the fallback log has each unstored delivery."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools", "host", "--port", str(port), "--no-local-settings",
        cwd=processes.ROOT,
        env={**os.environ, "AcrEventsStorage": proxy.connection, "ACR_REGISTRIES": ""},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    ready, log = asyncio.Event(), []

    async def read() -> None:
        assert process.stderr
        async for line in process.stderr:
            log.append(line.decode())
            if "AcrWebhook:" in log[-1]:
                ready.set()

    reading = asyncio.create_task(read())
    try:
        await asyncio.wait_for(ready.wait(), 30)
        url = processes.function_url(port)
        assert set((await _send(url, "before")).values()) == {202}
        await proxy.set("stall")
        lost = await _send(url, "lost")
        assert set(lost.values()) == {503}
        await proxy.set("pass")
        assert set((await _send(url, "after")).values()) == {202}
    finally:
        process.terminate()
        await process.wait()
        await reading

    fallback_log = [line.partition(f"{LOST} ")[2] for line in log if LOST in line]
    found = [json.loads(json.loads(line)["body"]["content"])["id"] for line in fallback_log]
    assert sorted(found) == sorted(lost)
    stored = [event["id"] for event in await storage.documents("acr-push")]
    assert {id_ for id_ in stored if not id_.startswith("lost")} == {
        f"{name}-{number}" for name in ("before", "after") for number in range(DELIVERY_COUNT)
    }


async def _send(url: str, name: str) -> dict[str, int]:
    """The statuses of many concurrent deliveries, by ID; each within ACR's timeout."""
    statuses = {}

    async def one(http: aiohttp.ClientSession, id_: str) -> None:
        timeout = aiohttp.ClientTimeout(total=RESPONSE_TIMEOUT_SECONDS)
        body = json.dumps(example("push", id=id_))
        async with http.post(url, data=body, timeout=timeout) as response:
            statuses[id_] = response.status

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(one(http, f"{name}-{number}") for number in range(DELIVERY_COUNT)))
    return statuses
