"""Storage faults: responses in time, events stored after each 202, the rest in the fallback log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.app import App
from shared.core.dead_letter import decode_body
from shared.core.delivery import Delivery
from shared.core.responses import Response
from shared.log import DELIVERY, LOST
from tests.support.deliveries import delivery, example
from tests.support.faults import FaultProxy
from tests.support.storage import StorageAccount

# The budget is the default one: neighbors that take processor time would change the outcome.
pytestmark = pytest.mark.timing

BUDGET_SECONDS = 4.0
GRACE_SECONDS = 0.5
DELIVERY_COUNT = 60


@pytest.fixture
async def receiver(proxy: FaultProxy) -> AsyncIterator[App]:
    receiver = App.from_environment({"AcrEventsStorage": proxy.connection})
    yield receiver
    await receiver.queues.close()


class Sent:
    """Deliveries that were sent concurrently, with their responses."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.responses: dict[str, Response] = {}
        self.slowest_seconds = 0.0
        self._caplog = caplog

    def ids(self, status: int) -> set[str]:
        """The IDs of the deliveries that got the status `status`."""
        return {id_ for id_, response in self.responses.items() if response.status == status}

    def lines(self, marker: str) -> list[dict[str, Any]]:
        """The log lines with `marker`, parsed."""
        found = []
        for record in self._caplog.records:
            message = record.getMessage()
            assert "\n" not in message
            if message.startswith(f"{marker} "):
                assert record.levelno == logging.ERROR or marker != LOST
                found.append(json.loads(message.removeprefix(f"{marker} ")))
        return found

    def lost(self) -> set[str]:
        """The IDs of the deliveries that are whole in the fallback log."""
        return {json.loads(line["body"]["content"])["id"] for line in self.lines(LOST)}


async def _send(
    receiver: App, caplog: pytest.LogCaptureFixture, deliveries: list[dict[str, Any]]
) -> Sent:
    """Sends all deliveries concurrently."""
    caplog.clear()
    caplog.set_level(logging.INFO, "acr_webhook")
    clock = asyncio.get_running_loop().time
    sent = Sent(caplog)

    async def one(document: dict[str, Any]) -> None:
        started = clock()
        sent.responses[document["id"]] = await receiver.pipeline.process(delivery(document))
        sent.slowest_seconds = max(sent.slowest_seconds, clock() - started)

    await asyncio.gather(*map(one, deliveries))
    assert len(sent.lines(DELIVERY)) == len(deliveries)
    return sent


def _mixed(prefix: str = "") -> list[dict[str, Any]]:
    """Deliveries of every kind, of which the app refuses a fifth."""
    kinds = ["push", "delete", "chart_push", "quarantine"]
    good = [example(kinds[n % 4], id=f"{prefix}good-{n}") for n in range(DELIVERY_COUNT * 4 // 5)]
    bad = [example("push", id=f"{prefix}bad-{n}", request=...) for n in range(DELIVERY_COUNT // 5)]
    return good + bad


FAULTS = ["refuse", "stall", "busy", "cut", "half", "drip", "swallow", "deleting"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_storage_fault_loses_no_delivery(
    fault: str,
    proxy: FaultProxy,
    receiver: App,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While Storage fails, responses come in time and the fallback log has each delivery."""
    await _send(receiver, caplog, _mixed("before-"))
    await proxy.set(fault)
    sent = await _send(receiver, caplog, _mixed())
    # Storage confirmed nothing, so the app accepts nothing and logs every delivery.
    assert sent.ids(503) == set(sent.responses) == sent.lost()
    assert sent.slowest_seconds < BUDGET_SECONDS + GRACE_SECONDS
    assert all("Retry-After" in response.headers for response in sent.responses.values())

    await proxy.set("pass")
    after = await _send(receiver, caplog, _mixed("after-"))
    assert after.ids(503) == after.lost() == set()
    stored = set(await storage.stored_ids())
    assert {id_ for id_ in stored if id_.startswith("after-")} == set(after.responses)
    assert len([id_ for id_ in stored if id_.startswith("before-")]) == DELIVERY_COUNT


@pytest.mark.parametrize("fault", FAULTS)
async def test_short_fault_needs_no_fallback_log(
    fault: str,
    proxy: FaultProxy,
    receiver: App,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault that ends within the budget loses no delivery."""
    await _send(receiver, caplog, _mixed("before-"))
    await proxy.set(fault)

    async def recover() -> None:
        await asyncio.sleep(0.7)
        await proxy.set("pass")

    recovering = asyncio.create_task(recover())
    sent = await _send(receiver, caplog, _mixed())
    await recovering
    assert sent.ids(503) == sent.lost() == set()
    assert sent.slowest_seconds < BUDGET_SECONDS + GRACE_SECONDS
    assert set(await storage.stored_ids()) >= set(sent.responses)


async def test_slow_account_stores_each_event_once(
    proxy: FaultProxy,
    receiver: App,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The app waits for a slow account, which stores each event once."""
    await _send(receiver, caplog, _mixed("before-"))
    await proxy.set("late")
    # This process serves the requests too. It needs more than the half second that an attempt has
    # beside the account's 1.5 seconds for all of them at once, where a machine is slow.
    sent = await _send(receiver, caplog, _mixed()[::3])
    assert sent.ids(503) == sent.lost() == set()
    stored = [id_ for id_ in await storage.stored_ids() if not id_.startswith("before-")]
    assert sorted(stored) == sorted(sent.responses)


async def test_sudden_fault_stores_or_logs_deliveries(
    proxy: FaultProxy,
    receiver: App,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault under load leaves each delivery on a queue or in the fallback log."""
    await _send(receiver, caplog, _mixed("before-"))
    last_good = proxy.requests + 35

    async def fail_after(number: int) -> None:
        if number == last_good:
            proxy.fault = "stall"

    proxy.before = fail_after
    sent = await _send(receiver, caplog, _mixed())
    assert sent.ids(503) == sent.lost()
    assert 0 < len(sent.lost()) < DELIVERY_COUNT
    proxy.before = None
    await proxy.set("pass")
    assert set(await storage.stored_ids()) >= sent.ids(202) | sent.ids(422)


async def test_slow_queue_delays_no_other_queue(
    proxy: FaultProxy,
    receiver: App,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A slow queue does not delay deliveries to another queue."""
    await proxy.set("stall", only="acr-push")
    finished: list[str] = []

    async def one(document: dict[str, Any]) -> None:
        response = await receiver.pipeline.process(delivery(document))
        assert response.status == (503 if document["action"] == "push" else 202)
        finished.append(document["action"])

    # More than any default limit of connections to one host.
    pushes = [example("push", id=str(n)) for n in range(110)]
    deletes = [example("delete", id=str(n)) for n in range(20)]
    await asyncio.gather(*map(one, pushes + deletes))
    assert finished == ["delete"] * 20 + ["push"] * 110


async def test_stalled_send_can_store_event_twice(
    proxy: FaultProxy,
    receiver: App,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An event arrives twice under one ID if Storage stores it and then stalls."""
    await _send(receiver, caplog, [example("push", id="before")])
    await proxy.set("swallow", times=1)
    sent = await _send(receiver, caplog, [example("push", id="twice")])
    assert sent.ids(202) == {"twice"}
    assert sorted(await storage.stored_ids()) == ["before", "twice", "twice"]


async def test_concurrent_events_arrive_in_any_order(
    proxy: FaultProxy,
    receiver: App,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Events that arrive at the same time can be on a queue in any order."""
    await _send(receiver, caplog, [example("push", id="before")])
    await proxy.set("cut", times=1)  # the first send needs a retry, and the others overtake it
    ids = [str(number) for number in range(10)]
    sent = await _send(receiver, caplog, [example("push", id=id_) for id_ in ids])
    assert sent.ids(202) == set(ids)
    stored = await storage.stored_ids()
    assert sorted(stored[1:]) == sorted(ids)
    assert stored[1:] != ids


async def test_queue_deleted_under_load_loses_nothing(
    proxy: FaultProxy,
    receiver: App,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The app creates a queue again that is deleted under load, and loses no delivery."""
    await _send(receiver, caplog, [example("push", id="before")])
    await storage.service.delete_queue("acr-push")
    await proxy.set("deleting", times=100)
    pushes = [example("push", id=str(n)) for n in range(DELIVERY_COUNT)]
    sent = await _send(receiver, caplog, pushes)
    assert sent.ids(503) == sent.lost() == set()
    assert sorted(await storage.stored_ids()) == sorted(sent.responses)


async def test_cancelled_delivery_reaches_fallback_log(
    proxy: FaultProxy, receiver: App, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery that is cancelled in the pipeline is in the fallback log."""
    await proxy.set("stall")
    sent = Sent(caplog)
    task = asyncio.create_task(receiver.pipeline.process(delivery(example("push"))))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent.lost() == {example("push")["id"]}
    assert sent.lines(LOST)[0]["reason"] == "cancelled"
    assert sent.lines(DELIVERY)[0]["outcome"] == "logged"


async def test_internal_error_reaches_fallback_log(
    receiver: App,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An internal error gives a 500 response, and the delivery is in the fallback log."""

    def broken(*_: object) -> None:
        raise RuntimeError("secret-in-exception")

    monkeypatch.setattr(receiver.pipeline, "route", broken)
    sent = Sent(caplog)
    response = await receiver.pipeline.process(delivery(example("push")))
    assert response.status == 500
    assert b"secret-in-exception" not in response.body
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
async def test_fallback_log_holds_whole_body(
    body: bytes, parts: int, proxy: FaultProxy, receiver: App, caplog: pytest.LogCaptureFixture
) -> None:
    """The fallback log holds every acceptable body whole, in lines that no log truncates."""
    await proxy.set("refuse")
    response = await receiver.pipeline.process(
        Delivery(body, "é\nb\ud800" * 500, "x\r\n", datetime.now(UTC))
    )
    assert response.status == 503
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
    found = b"".join(decode_body(line["body"]) for line in lines)
    assert body.startswith(found)
    # The app never accepts a body this long, and logs more of it than the longest body it accepts.
    truncated = len(body) > 70_000
    assert len(found) >= min(len(body), 70_000)
    assert [line["body"]["truncated"] for line in lines] == [truncated] * parts
    assert truncated or found == body


async def test_storage_request_carries_invocation_id(proxy: FaultProxy, receiver: App) -> None:
    """A request to Storage carries the ID of the function's invocation."""
    raw = json.dumps(example("push")).encode()
    await receiver.pipeline.process(Delivery(raw, None, None, datetime.now(UTC), "inv-1"))
    assert b"x-ms-client-request-id: inv-1\r\n" in proxy.last
