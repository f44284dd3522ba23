"""Whatever storage does: every answer in time, every 202 stored, all else in the last net."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.answers import Answer
from shared.ingest import Delivery, Ingest
from shared.log import DELIVERY, LOST
from shared.rejected import body_bytes
from tests.support.deliveries import delivery, example
from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount

BUDGET = 4.0
GRACE = 0.5
MANY = 60


@pytest.fixture
async def ingest(proxy: FaultProxy) -> AsyncIterator[Ingest]:
    ingest = Ingest.from_environment({"AcrEventsStorage": proxy.connection})
    yield ingest
    await ingest.queues.close()


class Sent:
    """Deliveries that were sent at once, with their answers."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.answers: dict[str, Answer] = {}
        self.slowest = 0.0  # seconds
        self._caplog = caplog

    def ids(self, status: int) -> set[str]:
        """The ids of the deliveries that were answered `status`."""
        return {id_ for id_, answer in self.answers.items() if answer.status == status}

    def lines(self, marker: str) -> list[dict[str, Any]]:
        """The log's lines with `marker`, parsed."""
        found = []
        for record in self._caplog.records:
            message = record.getMessage()
            assert "\n" not in message
            if message.startswith(f"{marker} "):
                assert record.levelno == logging.ERROR or marker != LOST
                found.append(json.loads(message.removeprefix(f"{marker} ")))
        return found

    def lost(self) -> set[str]:
        """The ids of the deliveries that are whole in the last net."""
        return {json.loads(line["body"]["content"])["id"] for line in self.lines(LOST)}


async def _send(
    ingest: Ingest, caplog: pytest.LogCaptureFixture, deliveries: list[dict[str, Any]]
) -> Sent:
    """Sends all at once."""
    caplog.clear()
    caplog.set_level(logging.INFO, "acr_webhook")
    clock = asyncio.get_running_loop().time
    sent = Sent(caplog)

    async def one(document: dict[str, Any]) -> None:
        started = clock()
        sent.answers[document["id"]] = await ingest.receive(delivery(document))
        sent.slowest = max(sent.slowest, clock() - started)

    await asyncio.gather(*map(one, deliveries))
    assert len(sent.lines(DELIVERY)) == len(deliveries)
    return sent


def _mixed(prefix: str = "") -> list[dict[str, Any]]:
    """Deliveries of every kind, a fifth of them to be refused."""
    kinds = ["push", "delete", "chart_push", "quarantine"]
    good = [example(kinds[n % 4], id=f"{prefix}good-{n}") for n in range(MANY * 4 // 5)]
    bad = [example("push", id=f"{prefix}bad-{n}", request=...) for n in range(MANY // 5)]
    return good + bad


FAULTS = ["refuse", "stall", "busy", "cut", "half", "drip", "swallow", "deleting"]


@pytest.mark.timing
@pytest.mark.parametrize("fault", FAULTS)
async def test_while_storage_fails_answers_come_in_time_and_nothing_is_lost(
    fault: str,
    proxy: FaultProxy,
    ingest: Ingest,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _send(ingest, caplog, _mixed("before-"))
    await proxy.set(fault)
    sent = await _send(ingest, caplog, _mixed())
    # Nothing was confirmed, so nothing may be accepted or called safe: all is in the last net.
    assert sent.ids(503) == set(sent.answers) == sent.lost()
    assert sent.slowest < BUDGET + GRACE
    assert all("Retry-After" in answer.headers for answer in sent.answers.values())

    await proxy.set("pass")
    after = await _send(ingest, caplog, _mixed("after-"))
    assert after.ids(503) == after.lost() == set()
    stored = set(await storage.stored_ids())
    assert {id_ for id_ in stored if id_.startswith("after-")} == set(after.answers)
    assert len([id_ for id_ in stored if id_.startswith("before-")]) == MANY


@pytest.mark.timing
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_passes_within_the_budget_costs_no_delivery(
    fault: str,
    proxy: FaultProxy,
    ingest: Ingest,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _send(ingest, caplog, _mixed("before-"))
    await proxy.set(fault)

    async def recover() -> None:
        await asyncio.sleep(0.7)
        await proxy.set("pass")

    recovering = asyncio.create_task(recover())
    sent = await _send(ingest, caplog, _mixed())
    await recovering
    assert sent.ids(503) == sent.lost() == set()
    assert sent.slowest < BUDGET + GRACE
    assert set(await storage.stored_ids()) >= set(sent.answers)


@pytest.mark.timing
async def test_a_slow_account_is_waited_for_and_gets_each_event_once(
    proxy: FaultProxy,
    ingest: Ingest,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _send(ingest, caplog, _mixed("before-"))
    await proxy.set("late")
    sent = await _send(ingest, caplog, _mixed())
    assert sent.ids(503) == sent.lost() == set()
    stored = [id_ for id_ in await storage.stored_ids() if not id_.startswith("before-")]
    assert sorted(stored) == sorted(sent.answers)


async def test_a_fault_in_the_middle_leaves_each_delivery_stored_or_in_the_last_net(
    proxy: FaultProxy,
    ingest: Ingest,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _send(ingest, caplog, _mixed("before-"))
    last_good = proxy.requests + 35

    async def fail_after(number: int) -> None:
        if number == last_good:
            proxy.fault = "stall"

    proxy.before = fail_after
    sent = await _send(ingest, caplog, _mixed())
    assert sent.ids(503) == sent.lost()
    assert 0 < len(sent.lost()) < MANY
    proxy.before = None
    await proxy.set("pass")
    assert set(await storage.stored_ids()) >= sent.ids(202) | sent.ids(422)


async def test_one_slow_queue_does_not_delay_deliveries_to_another(
    proxy: FaultProxy,
    ingest: Ingest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await proxy.set("stall", only="acr-push")
    finished: list[str] = []

    async def one(document: dict[str, Any]) -> None:
        answer = await ingest.receive(delivery(document))
        assert answer.status == (503 if document["action"] == "push" else 202)
        finished.append(document["action"])

    # More than any default limit of connections to one host.
    pushes = [example("push", id=str(n)) for n in range(110)]
    deletes = [example("delete", id=str(n)) for n in range(20)]
    await asyncio.gather(*map(one, pushes + deletes))
    assert finished == ["delete"] * 20 + ["push"] * 110


async def test_a_send_that_stalled_and_was_stored_comes_twice_under_one_id(
    proxy: FaultProxy,
    ingest: Ingest,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _send(ingest, caplog, [example("push", id="before")])
    await proxy.set("swallow", times=1)
    sent = await _send(ingest, caplog, [example("push", id="twice")])
    assert sent.ids(202) == {"twice"}
    assert sorted(await storage.stored_ids()) == ["before", "twice", "twice"]


async def test_events_that_come_together_may_lie_in_any_order(
    proxy: FaultProxy,
    ingest: Ingest,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _send(ingest, caplog, [example("push", id="before")])
    await proxy.set("cut", times=1)  # the first one needs a second try, the others overtake it
    ids = [str(number) for number in range(10)]
    sent = await _send(ingest, caplog, [example("push", id=id_) for id_ in ids])
    assert sent.ids(202) == set(ids)
    stored = await storage.stored_ids()
    assert sorted(stored[1:]) == sorted(ids)
    assert stored[1:] != ids


async def test_a_queue_that_is_deleted_and_created_again_under_load_loses_nothing(
    proxy: FaultProxy,
    ingest: Ingest,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _send(ingest, caplog, [example("push", id="before")])
    await storage.service.delete_queue("acr-push")
    await proxy.set("deleting", times=100)
    sent = await _send(ingest, caplog, [example("push", id=str(n)) for n in range(MANY)])
    assert sent.ids(503) == sent.lost() == set()
    assert sorted(await storage.stored_ids()) == sorted(sent.answers)


async def test_cancelled_in_the_middle_a_delivery_is_in_the_last_net(
    proxy: FaultProxy, ingest: Ingest, caplog: pytest.LogCaptureFixture
) -> None:
    await proxy.set("stall")
    sent = Sent(caplog)
    task = asyncio.create_task(ingest.receive(delivery(example("push"))))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent.lost() == {example("push")["id"]}
    assert sent.lines(LOST)[0]["reason"] == "cancelled"
    assert sent.lines(DELIVERY)[0]["outcome"] == "lost"


async def test_a_fault_of_our_own_is_a_500_and_the_delivery_is_in_the_last_net(
    ingest: Ingest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret-in-exception")

    monkeypatch.setattr(ingest, "prepare", broken)
    sent = Sent(caplog)
    answer = await ingest.receive(delivery(example("push")))
    assert answer.status == 500
    assert b"secret-in-exception" not in answer.body
    assert "secret-in-exception" not in caplog.text
    assert "acr_fault RuntimeError in test_faults.py" in caplog.text
    assert sent.lost() == {example("push")["id"]}


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"\xff" * 2000, 1),
        (b"\x00\n\r", 1),
        ("é😀".encode(), 1),
        ("é".encode() * 15_800, 2),
        (b'{"a":"b"}' * 3500, 2),
        (bytes(range(256)) * 128, 2),
        (b"x" * 49_000, 3),
        (b"\xff" * 49_152, 3),
        (b'{"a":"b\\n"}' * 4400, 3),
        (b"x" * 60_000, 3),
        (b"\xff" * 80_000, 4),
    ],
)
async def test_the_last_net_holds_any_body_whole_in_lines_that_no_log_cuts(
    body: bytes, parts: int, proxy: FaultProxy, ingest: Ingest, caplog: pytest.LogCaptureFixture
) -> None:
    await proxy.set("refuse")
    answer = await ingest.receive(Delivery(body, "é\nb\ud800" * 500, "x\r\n", datetime.now(UTC)))
    assert answer.status == 503
    lines = Sent(caplog).lines(LOST)
    assert [(line["part"], line["parts"]) for line in lines] == [
        (part, parts) for part in range(1, parts + 1)
    ]
    for message in caplog.messages:
        assert len(message) <= 32_768
        assert message.isascii()
    for line in lines:
        assert line["queues"] == ["acr-rejected"]
        assert line["receivedAt"]
        assert line["registry"].startswith("é\nb")
        assert line["body"]["length"] == len(body)
    found = b"".join(body_bytes(line["body"]) for line in lines)
    assert body.startswith(found)
    # Longer than what could ever be accepted, and more of it is kept than of that.
    truncated = len(body) > 70_000
    assert len(found) >= min(len(body), 70_000)
    assert [line["body"]["truncated"] for line in lines] == [truncated] * parts
    assert truncated or found == body


async def test_storage_knows_a_request_by_the_invocation_it_came_from(
    proxy: FaultProxy, ingest: Ingest
) -> None:
    raw = json.dumps(example("push")).encode()
    await ingest.receive(Delivery(raw, None, None, datetime.now(UTC), "inv-1"))
    assert b"x-ms-client-request-id: inv-1\r\n" in proxy.last
