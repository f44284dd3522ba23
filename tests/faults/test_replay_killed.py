"""Replay killed with SIGKILL at many points: nothing is lost."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process

from tests.support.deliveries import example, reject
from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount
from tools import processes

HOLD = 2
# The request at which it is killed: an even one before it reaches Storage, an odd one after it was
# served and before the answer. A whole run makes 66, the last eight of which show again what stays.
POINTS = [2, 3, 4, 5, 7, 10, 13, 18, 23, 28, 33, 38, 43, 48, 53, 58, 62, 65]
PASSING, STAYING = 24, 8


async def _replay(connection: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools", "replay", "--hold", str(HOLD),
        cwd=processes.ROOT,
        env={**os.environ, "AcrEventsStorage": connection, "ACR_REGISTRIES": ""},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def test_replay_killed_at_many_points_loses_nothing(
    proxy: FaultProxy, storage: StorageAccount
) -> None:
    passing, staying, killed = set(), set(), 0
    for point in POINTS:
        good = [f"good-{point}-{number}" for number in range(PASSING)]
        bad = [f"bad-{point}-{number}" for number in range(STAYING)]
        await reject(
            storage.connection,
            *(example("push", id=id_) for id_ in good),
            *(example("push", id=id_, target__digest="latest") for id_ in bad),
        )
        passing |= set(good)
        staying |= set(bad)

        proxy.requests = 0
        process = await _replay(proxy.connection)

        async def kill(number: int, point: int = point, process: Process = process) -> None:
            nonlocal killed
            if number == point:
                process.kill()
                killed += 1

        proxy.before, proxy.after = (kill, None) if point % 2 == 0 else (None, kill)
        await process.wait()
        assert process.returncode == -9

    proxy.before = proxy.after = None
    assert killed == len(POINTS)
    await asyncio.sleep(HOLD + 1)
    process = await _replay(proxy.connection)
    assert await process.wait() == 1  # some stay

    events = [event["id"] for event in await storage.documents("acr-push")]
    kept = [
        json.loads(record["body"]["content"])["id"]
        for record in await storage.documents("acr-rejected")
    ]
    assert set(events) == passing
    assert sorted(kept) == sorted(staying)
