"""The pipeline with in-memory queues in place of Storage."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.core.actions import actions, event_actions
from shared.core.dead_letter import decode_body
from shared.core.delivery import Delivery
from shared.core.responses import Response
from shared.core.routing import Routes
from shared.core.schemas import validator
from shared.core.violations import violations
from shared.log import LOST
from shared.pipeline import Pipeline
from shared.settings import Settings
from tests.support.deliveries import example, read_back
from tests.support.memory import InMemoryQueues

EVENT, DEAD_LETTER = validator("event.v1.json"), validator("rejected.v1.json")


def _pipeline(memory: InMemoryQueues, routes: Routes | None = None, **environment: str) -> Pipeline:
    given = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", **environment}
    # No registry waits for a test: its budget may be longer.
    read = Settings.read(given, registry_waits=False)
    return Pipeline(read, routes or Routes.load({}), memory)


async def _receive(
    pipeline: Pipeline, body: bytes | dict[str, Any], registry: str | None = None
) -> tuple[Response, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    delivery = Delivery(raw, registry, None, datetime.now(UTC))
    response = await pipeline.process(delivery)
    assert len(response.body) <= 4096
    return response, json.loads(response.body)


@pytest.mark.parametrize("action", event_actions())
async def test_accepted_event_is_on_its_queue(action: str) -> None:
    """An event is on its queue when the response is 202."""
    memory = InMemoryQueues()
    response, document = await _receive(_pipeline(memory), example(action))
    assert response.status == 202
    assert document["queues"] == [f"acr-{action.replace('_', '-')}"]
    [event] = memory.messages.pop(document["queues"][0])
    assert not memory.messages
    assert violations(EVENT, event) == []
    assert {name: event[name] for name in document if name != "queues"} == {
        name: document[name] for name in document if name != "queues"
    }


async def test_ping_is_stored_nowhere() -> None:
    """A ping gets a 200 response, and no queue gets a message."""
    memory = InMemoryQueues()
    response, document = await _receive(_pipeline(memory), example("ping"))
    assert (response.status, document["action"]) == (200, "ping")
    assert not memory.messages


async def test_repeated_delivery_keeps_its_id() -> None:
    """The pipeline accepts a repeated delivery again, under the same id."""
    memory = InMemoryQueues()
    pipeline = _pipeline(memory)
    for _ in range(2):
        assert (await _receive(pipeline, example("push")))[0].status == 202
    assert [event["id"] for event in memory.messages["acr-push"]] == [example("push")["id"]] * 2


@pytest.mark.parametrize(
    ("body", "environment", "registry", "reason", "status"),
    [
        (b"{", {}, None, "not-json", 400),
        (b"[]", {}, None, "not-json", 400),
        ({"action": "pull"}, {}, None, "unknown-action", 422),
        ({"action": "push"}, {}, None, "invalid-delivery", 422),
        ({}, {"ACR_REGISTRIES": "other.azurecr.io"}, None, "registry-not-allowed", 403),
        ({}, {}, "not a host", "invalid-registry", 422),
        ({}, {}, "other.azurecr.io", "invalid-registry", 422),
        (b" " * 32 * 1024 + b"{}", {}, None, "body-too-large", 413),
        (b"{}" + b" " * 1024, {"ACR_MAX_BODY_BYTES": "1024"}, None, "body-too-large", 413),
    ],
)
async def test_rejected_delivery_becomes_dead_letter(
    body: bytes | dict[str, Any],
    environment: dict[str, str],
    registry: str | None,
    reason: str,
    status: int,
) -> None:
    """A rejected delivery is a dead letter with the reason and the status of the response."""
    memory = InMemoryQueues()
    sent = body if isinstance(body, bytes) or body else example("push")
    response, document = await _receive(_pipeline(memory, None, **environment), sent, registry)
    assert response.status == document["status"] == status
    assert document["type"].endswith(reason)
    [dead_letter] = memory.messages.pop("acr-rejected")
    assert not memory.messages
    assert violations(DEAD_LETTER, dead_letter) == []
    assert (dead_letter["reason"], dead_letter["status"]) == (reason, status)
    assert dead_letter["errors"] == document["errors"]
    assert dead_letter.get("registry") == registry


async def test_ping_with_invalid_registry_is_422() -> None:
    """A ping with an invalid registry parameter gets a 422 response."""
    response, _ = await _receive(_pipeline(InMemoryQueues()), example("ping"), "not a host")
    assert response.status == 422


async def test_oversized_event_becomes_dead_letter() -> None:
    """An event that no queue message can hold gets a 413 response and is a dead letter."""
    memory = InMemoryQueues()
    # The event holds the tag twice, in data and in the subject.
    response, document = await _receive(
        _pipeline(memory), example("push", target__tag="v" * 30_000)
    )
    assert response.status == 413
    assert document["type"].endswith("event-too-large")
    [dead_letter] = memory.messages["acr-rejected"]
    assert json.loads(dead_letter["body"]["content"])["target"]["tag"] == "v" * 30_000


@pytest.mark.parametrize(
    ("delivery", "broken"), [({}, "acr-push"), ({"action": "pull"}, "acr-rejected")]
)
async def test_storage_failure_is_retryable_503(delivery: dict[str, Any], broken: str) -> None:
    """A delivery that could not be stored gets a 503 response with `Retry-After`."""
    response, document = await _receive(
        _pipeline(InMemoryQueues(broken)), delivery or example("push")
    )
    assert response.status == 503
    assert response.headers["Retry-After"] == "10"
    assert document["type"].endswith("storage-unavailable")


def _two_routes() -> Routes:
    routes = {"routes": [{"queue": "one"}, {"queue": "two"}], "rejectedQueue": "acr-rejected"}
    return Routes.parse(json.dumps(routes).encode(), {})


async def test_event_reaches_both_queues() -> None:
    """An event with two queues is on both when the response is 202."""
    memory = InMemoryQueues()
    response, document = await _receive(_pipeline(memory, _two_routes()), example("push"))
    assert (response.status, document["queues"]) == (202, ["one", "two"])
    assert memory.messages["one"] == memory.messages["two"] != []


@pytest.mark.parametrize("keep", ["false", "true"])
async def test_unrouted_event_is_logged_or_kept(
    caplog: pytest.LogCaptureFixture, keep: str
) -> None:
    """An unrouted event is a warning in the log, and a dead letter only if the setting says so."""
    caplog.set_level(logging.INFO, "acr_webhook")
    memory = InMemoryQueues()
    pipeline = _pipeline(memory, Routes((), "acr-rejected"), ACR_KEEP_UNROUTED=keep)
    response, document = await _receive(pipeline, example("push"))
    [record] = [r for r in caplog.records if r.getMessage().startswith("acr_delivery ")]
    assert record.levelno == logging.WARNING
    logged = json.loads(record.getMessage().partition(" ")[2])
    assert logged["id"] == example("push")["id"]
    if keep == "false":
        assert (response.status, document["queues"], dict(memory.messages)) == (202, [], {})
        assert (logged["outcome"], logged["queues"]) == ("unrouted", [])
        return
    assert (response.status, logged["outcome"], logged["reason"]) == (422, "rejected", "unrouted")
    [dead_letter] = memory.messages["acr-rejected"]
    assert (dead_letter["reason"], dead_letter["status"]) == ("unrouted", 422)


async def test_fallback_log_lines_stay_short(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Lines of the fallback log have at most 32,768 characters, and name each queue."""
    names = [f"{'q' * 58}-{number:04}" for number in range(500)]
    routes = {"routes": [{"queue": name} for name in names], "rejectedQueue": "acr-rejected"}
    pipeline = _pipeline(InMemoryQueues(*names), Routes.parse(json.dumps(routes).encode(), {}))
    body = json.dumps(example("push") | {"notes": "n" * 30_000}).encode()
    odd = "😀" * 300
    response = await pipeline.process(Delivery(body, None, odd, datetime.now(UTC), odd))
    assert response.status == 503
    assert max(map(len, caplog.messages)) <= 32_768
    lines = [json.loads(m.partition(" ")[2]) for m in caplog.messages if m.startswith(LOST)]
    # Each hundred queues have all parts of the body.
    sets = [
        lines[start : start + len(lines) // 5] for start in range(0, len(lines), len(lines) // 5)
    ]
    for number, parts in enumerate(sets):
        named = names[number * 100 : number * 100 + 100]
        assert [line["part"] for line in parts] == list(range(1, parts[0]["parts"] + 1))
        assert all(line["queues"] == named for line in parts)
        assert b"".join(decode_body(line["body"]) for line in parts) == body
    assert len(sets) == 5


async def test_fallback_log_names_failed_queue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If one queue of two fails, the response is 503 and the fallback log names that queue."""
    memory = InMemoryQueues("two")
    response, document = await _receive(_pipeline(memory, _two_routes()), example("push"))
    assert response.status == 503
    assert "two: " in document["detail"]
    assert "one: " not in document["detail"]
    assert len(memory.messages["one"]) == 1
    [line] = [m for m in caplog.messages if m.startswith("acr_lost_delivery ")]
    lost = json.loads(line.partition(" ")[2])
    assert (lost["reason"], lost["queues"]) == ("storage-unavailable", ["two"])
    assert lost["detail"] == "two: Storage did not respond in time."
    assert json.loads(lost["body"]["content"]) == example("push")


async def test_sends_run_concurrently_within_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pipeline sends to all queues of an event at once, within the configured budget."""
    both = asyncio.Barrier(2)  # sends one after the other would wait for ever
    left = []

    async def send(_: str, _message: bytes, deadline: float, _id: str | None = None) -> None:
        left.append(deadline - asyncio.get_running_loop().time())
        await both.wait()

    memory = InMemoryQueues()
    monkeypatch.setattr(memory, "send", send)
    pipeline = _pipeline(memory, _two_routes(), ACR_BUDGET_SECONDS="25")
    async with asyncio.timeout(20):
        response, _ = await _receive(pipeline, example("push"))
    assert response.status == 202
    assert all(15 < seconds <= 25 for seconds in left)


async def test_each_delivery_logs_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The pipeline logs one line for each delivery, with the fields that operators query."""
    caplog.set_level(logging.INFO, "acr_webhook")
    pipeline = _pipeline(InMemoryQueues("acr-delete"))
    for body in (example("push"), example("ping"), example("delete"), {"action": "pull\n"}):
        delivery = Delivery(json.dumps(body).encode(), None, "00-1", datetime.now(UTC), "inv-1")
        await pipeline.process(delivery)
    lines = [
        json.loads(message.partition(" ")[2])
        for message in caplog.messages
        if message.startswith("acr_delivery ")
    ]
    assert [line["outcome"] for line in lines] == ["accepted", "ping", "logged", "rejected"]
    assert [line["status"] for line in lines] == [202, 200, 503, 422]
    levels = [r.levelname for r in caplog.records if r.getMessage().startswith("acr_delivery ")]
    assert levels == ["INFO", "INFO", "ERROR", "WARNING"]
    assert all(line["milliseconds"] >= 0 for line in lines)
    assert all((line["invocation"], line["traceparent"]) == ("inv-1", "00-1") for line in lines)
    assert {
        name: lines[0][name] for name in ("id", "action", "registry", "repository", "queues")
    } == {
        "id": example("push")["id"],
        "action": "push",
        "registry": "myregistry.azurecr.io",
        "repository": "hello-world",
        "queues": ["acr-push"],
    }
    assert (lines[3]["reason"], lines[3]["action"]) == ("unknown-action", "pull\n")


async def test_log_lines_cannot_be_forged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No value in a delivery can forge a log line or a log field."""
    caplog.set_level(logging.INFO, "acr_webhook")
    forged = 'x"}\nacr_delivery {"outcome": "accepted", \u2028 é'
    pipeline = _pipeline(InMemoryQueues())
    await _receive(pipeline, example("push"), forged)
    name = forged.replace("\n", "")
    await _receive(pipeline, example("push", target__repository=name, id="i" * 5000))
    for record in caplog.records:
        assert record.msg == "%s %s"  # no value from outside is part of the format
        message = record.getMessage()
        assert message.isascii()
        assert message.isprintable()
        assert len(message) < 2000
        fields = json.loads(message.removeprefix("acr_delivery "))
        assert fields.get("registry") == forged or fields["repository"] == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    ["id", "timestamp", "action", "target", "request", "actor", "source"]
) | st.text(max_size=8)
FIELDS = st.sampled_from(
    ["repository", "tag", "digest", "size", "length", "mediaType", "name", "version", "host", "id"]
) | st.text(max_size=8)
DELIVERIES = st.fixed_dictionaries(
    {"action": st.sampled_from([*actions(), "pull"]) | JSON},
    optional={
        "id": st.text(min_size=1) | JSON,
        "timestamp": st.datetimes().map(lambda timestamp: timestamp.isoformat() + "Z") | JSON,
        "target": st.dictionaries(FIELDS, st.just("sha256:ab") | JSON) | JSON,
        "request": st.dictionaries(FIELDS, st.just("a.azurecr.io") | JSON) | JSON,
    },
)
VALID = st.builds(
    lambda action, id_, timestamp, repository, tag, more: {
        "id": id_,
        "timestamp": timestamp.isoformat() + "Z",
        "action": action,
        "target": {
            **more, "repository": repository, "tag": tag, "digest": "sha256:ab", "name": "n",
            "version": "1",
        },
        "request": {"host": "a.azurecr.io"},
    },
    st.sampled_from(list(actions())),
    st.uuids().map(str) | st.text(min_size=1),
    st.datetimes(),
    st.just("team-a/web") | st.text(max_size=260),
    st.none() | st.text(),
    st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)  # fmt: skip
BODIES = {
    "any bytes": st.binary(max_size=200),
    "valid": VALID.map(json.dumps).map(str.encode),
    "almost valid": DELIVERIES.map(json.dumps).map(str.encode),
    "any JSON": (JSON | st.dictionaries(MEMBERS, JSON)).map(json.dumps).map(str.encode),
}
PARAMETERS = st.sampled_from([None, None, "a.azurecr.io", "", "b"]) | st.text(max_size=30)


@pytest.mark.slow
@pytest.mark.no_cover  # other tests run the same lines, and tracing doubles the time
@pytest.mark.parametrize("kind", BODIES)
@settings(
    max_examples=625, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(data=st.data(), parameter=PARAMETERS)
async def test_every_body_is_accounted_for(
    data: st.DataObject, parameter: str | None, kind: str
) -> None:
    """Every body ends as an enqueued event, a ping or a dead letter."""
    body = data.draw(BODIES[kind])
    memory = InMemoryQueues()
    PROPERTY_PIPELINE._sender = memory
    response, document = await _receive(PROPERTY_PIPELINE, body, parameter)
    match response.status:
        case 200:
            assert document["action"] == "ping"
            assert not memory.messages
        case 202:
            assert list(memory.messages) == document["queues"] != []
            for [event] in memory.messages.values():
                read_back(event)
        case 400 | 403 | 413 | 422:
            [dead_letter] = memory.messages.pop("acr-rejected")
            assert not memory.messages
            assert violations(DEAD_LETTER, dead_letter) == []
            assert dead_letter["status"] == response.status
            assert dead_letter["body"]["length"] == len(body)
        case _:
            pytest.fail(f"status {response.status}")


PROPERTY_PIPELINE = _pipeline(InMemoryQueues())
