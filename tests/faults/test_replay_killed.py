"""Replay killed with SIGKILL at many points: nothing is lost."""

import asyncio
import json
import signal

from tests.support.commands import Command
from tests.support.deliveries import example, reject
from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount

HOLD = 2
# The request at which it is killed: an even one before it reaches Storage, an odd one after it was
# served and before the answer. A whole run makes 66, the last eight of which show again what stays.
POINTS = [2, 3, 4, 5, 7, 10, 13, 18, 23, 28, 33, 38, 43, 48, 53, 58, 62, 65]
PASSING, STAYING = 24, 8


def _replay(connection: str) -> Command:
    settings = {"AcrEventsStorage": connection, "ACR_REGISTRIES": ""}
    return Command("replay", "--hold", str(HOLD), settings=settings)


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
        command = _replay(proxy.connection)

        async def kill(number: int, point: int = point, command: Command = command) -> None:
            nonlocal killed
            if number == point:
                command.stop(signal.SIGKILL)
                killed += 1

        proxy.before, proxy.after = (kill, None) if point % 2 == 0 else (None, kill)
        assert (await command.ended()).status == -signal.SIGKILL

    proxy.before = proxy.after = None
    assert killed == len(POINTS)
    await asyncio.sleep(HOLD + 1)
    assert (await _replay(proxy.connection).ended()).status == 1  # some stay

    events = [event["id"] for event in await storage.documents("acr-push")]
    kept = [
        json.loads(record["body"]["content"])["id"]
        for record in await storage.documents("acr-rejected")
    ]
    assert set(events) == passing
    assert sorted(kept) == sorted(staying)
