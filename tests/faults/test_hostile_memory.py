"""Time and memory of the app while Storage responds with what exhausts a client."""

import asyncio
import json
import sys

import pytest
from aiohttp import web

from tests.support.hostile import KINDS
from tests.support.servers import Listen
from tools.localhost import processes

# As long as the registry waits; the budget is four of them.
RESPONSE_SECONDS = 5
MOST_BYTES = 256 * 1024 * 1024

# Forty deliveries, and the depth of every queue. Memory counts in a process of its own.
_PROGRAM = """
import asyncio, json, os, time
from datetime import UTC, datetime
from shared.app import App
from shared.core.delivery import Delivery
from shared.monitoring import queue_depth
from tools import examples

async def run():
    app = App.from_environment(os.environ)
    body = json.dumps(examples.documented("push")).encode()
    depths = asyncio.create_task(queue_depth.report(app.routes, app.queues))
    async def one():
        started = time.monotonic()
        response = await app.pipeline.process(Delivery(body, None, None, datetime.now(UTC)))
        return response.status, time.monotonic() - started
    ended = await asyncio.gather(*(one() for _ in range(40)))
    await depths
    await app.queues.close()
    [peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(json.dumps({
        "statuses": sorted({status for status, _ in ended}),
        "slowest": max(seconds for _, seconds in ended),
        "peak": int(peak.split()[1]) * 1024,
    }))

asyncio.run(run())
"""


@pytest.mark.timing
@pytest.mark.parametrize("status", [201, 200, 503])
@pytest.mark.parametrize("kind", KINDS)
async def test_hostile_response_exhausts_nothing(kind: str, status: int, listen: Listen) -> None:
    """Forty deliveries end within the budget and 256 MiB, whatever Storage responds with."""
    hostile = KINDS[kind](status)

    async def respond(request: web.Request) -> web.StreamResponse:
        if status == 200 and request.query.get("comp") == "metadata":
            # So that the depth of a queue goes on to peek.
            return web.Response(headers={"x-ms-approximate-messages-count": "1"})
        return await hostile(request)

    port = await listen(respond)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, cwd=processes.ROOT,
        env={"AcrEventsStorage": processes.connection_string(port), "ACR_REGISTRIES": ""},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    found = json.loads(output)
    assert found["statuses"] == [503]
    assert found["slowest"] < RESPONSE_SECONDS
    assert found["peak"] < MOST_BYTES
