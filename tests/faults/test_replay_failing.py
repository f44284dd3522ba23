"""Replay while Storage fails: a dead letter without a confirmed event stays."""

import asyncio
import signal

import pytest

from shared.storage.transport import MESSAGES_BYTES, responses_up_to
from tests.support.commands import Command
from tests.support.deliveries import example, reject
from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount

DEAD_LETTER_COUNT = 40


def _start(connection: str, budget_seconds: float = 1) -> Command:
    settings = {
        "AcrEventsStorage": connection,
        "ACR_REGISTRIES": "",
        "ACR_BUDGET_SECONDS": str(budget_seconds),
    }
    return Command("replay", settings=settings)


async def _visible(storage: StorageAccount) -> int:
    client = storage.service.get_queue_client("acr-rejected")
    with responses_up_to(MESSAGES_BYTES):
        taken = client.receive_messages(visibility_timeout=1, max_messages=100)
        messages = [message async for message in taken]
    await asyncio.sleep(1.5)
    return len(messages)


async def test_unstored_dead_letter_passes_next_replay(
    proxy: FaultProxy, storage: StorageAccount
) -> None:
    """A dead letter whose event cannot be stored stays, and the next replay passes it."""
    ids = [str(number) for number in range(DEAD_LETTER_COUNT)]
    await reject(storage.connection, *(example("push", id=id_) for id_ in ids))
    await proxy.set("busy", only="acr-push")
    ended = await _start(proxy.connection).ended()
    assert ended.status == 1
    assert "storage-unavailable" in ended.output
    assert await _visible(storage) == DEAD_LETTER_COUNT
    await proxy.set("pass")
    # Enough time for one attempt on a busy machine: a second attempt could store an event twice.
    ended = await _start(proxy.connection, budget_seconds=4).ended()
    assert ended.status == 0
    assert sorted(e["id"] for e in await storage.documents("acr-push")) == sorted(ids)


@pytest.mark.parametrize("fault", ["busy", "cut", "stall"])
async def test_failing_queue_ends_replay_with_summary(
    fault: str, proxy: FaultProxy, storage: StorageAccount
) -> None:
    """A dead-letter queue that fails during a replay ends it with an error and the summary."""
    await reject(
        storage.connection, *(example("push", id=str(n)) for n in range(DEAD_LETTER_COUNT))
    )

    async def fail(number: int) -> None:
        if number == 20:
            await proxy.set(fault, only="acr-rejected")

    proxy.before = fail
    ended = await _start(proxy.connection).ended()
    assert ended.status == 1
    assert "result" in ended.output
    assert "cannot be replayed" in ended.errors or "storage-unavailable" in ended.output


@pytest.mark.parametrize(
    ("point", "digest"),
    [(2, "latest"), (3, "latest"), (70, f"sha256:{'0' * 64}")],
    ids=["as it takes some", "as it notes why one stays", "as others pass"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_stopped_replay_releases_dead_letters(
    number: signal.Signals,
    point: int,
    digest: str,
    proxy: FaultProxy,
    storage: StorageAccount,
) -> None:
    """A replay that a signal stops releases the dead letters that it holds."""
    await reject(
        storage.connection,
        *(example("push", id=str(n), target__digest=digest) for n in range(DEAD_LETTER_COUNT)),
    )
    working = asyncio.Event()

    async def wait(request: int) -> None:
        if request == point:
            working.set()
            await asyncio.sleep(0.5)

    proxy.after = wait
    command = _start(proxy.connection)
    await asyncio.wait_for(working.wait(), 60)
    command.stop(number)
    ended = await command.ended()
    assert ended.status == (130 if number == signal.SIGINT else 128 + number)
    stored = await storage.documents("acr-push") if "acr-push" in await storage.queues() else []
    passed = len({event["id"] for event in stored})
    assert await _visible(storage) >= DEAD_LETTER_COUNT - passed
