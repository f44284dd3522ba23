"""Replay that is killed with SIGKILL at many points."""

import asyncio
import json
import signal

import pytest

from tests.support.commands import Command
from tests.support.deliveries import example, reject
from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount

VISIBILITY_TIMEOUT_SECONDS = 2
# The number of the request at which the test kills replay: an even one before it reaches Storage,
# an odd one after Storage served it and before the response. A whole replay sends 66 requests. The
# last eight release the dead letters that stay.
POINTS = [2, 3, 4, 5, 7, 10, 13, 18, 23, 28, 33, 38, 43, 48, 53, 58, 62, 65]
PASSING_COUNT, STAYING_COUNT = 24, 8


def _replay(connection: str) -> Command:
    settings = {"AcrEventsStorage": connection, "ACR_REGISTRIES": ""}
    return Command("replay", "--hold", str(VISIBILITY_TIMEOUT_SECONDS), settings=settings)


@pytest.mark.slow
async def test_killed_replay_loses_nothing(proxy: FaultProxy, storage: StorageAccount) -> None:
    """A replay that is killed at many points loses no dead letter."""
    passing, staying, killed = set(), set(), 0
    for point in POINTS:
        good = [f"good-{point}-{number}" for number in range(PASSING_COUNT)]
        bad = [f"bad-{point}-{number}" for number in range(STAYING_COUNT)]
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
    await asyncio.sleep(VISIBILITY_TIMEOUT_SECONDS + 1)
    assert (await _replay(proxy.connection).ended()).status == 1  # some dead letters stay

    events = [event["id"] for event in await storage.documents("acr-push")]
    dead_letters = [
        json.loads(dead_letter["body"]["content"])["id"]
        for dead_letter in await storage.documents("acr-rejected")
    ]
    assert set(events) == passing
    assert sorted(dead_letters) == sorted(staying)
