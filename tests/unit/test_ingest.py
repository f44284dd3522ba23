"""The road without Storage: an in-memory memory takes the place of the queues."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.actions import actions, event_actions
from shared.answers import Answer
from shared.ingest import Delivery, Ingest
from shared.log import LOST
from shared.rejected import body_bytes
from shared.routing import Routes
from shared.settings import Settings
from shared.validation import validator, violations
from tests.support.deliveries import example, read_back
from tests.support.memory import InMemoryQueues

EVENT, RECORD = validator("event.v1.json"), validator("rejected.v1.json")


def _ingest(memory: InMemoryQueues, routes: Routes | None = None, **environment: str) -> Ingest:
    read = Settings.read({"AzureWebJobsStorage": "UseDevelopmentStorage=true", **environment})
    return Ingest(read, routes or Routes.load({}), memory)


async def _receive(
    ingest: Ingest, body: bytes | dict[str, Any], registry: str | None = None
) -> tuple[Answer, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    delivery = Delivery(raw, registry, None, datetime.now(UTC))
    answer = await ingest.receive(delivery)
    assert len(answer.body) <= 4096
    return answer, json.loads(answer.body)


@pytest.mark.parametrize("action", event_actions())
async def test_an_event_is_on_its_queue_when_202_is_answered(action: str) -> None:
    memory = InMemoryQueues()
    answer, said = await _receive(_ingest(memory), example(action))
    assert answer.status == 202
    assert said["queues"] == [f"acr-{action.replace('_', '-')}"]
    [event] = memory.messages.pop(said["queues"][0])
    assert not memory.messages
    assert violations(EVENT, event) == []
    assert {name: event[name] for name in said if name != "queues"} == {
        name: said[name] for name in said if name != "queues"
    }


async def test_a_ping_is_answered_and_kept_nowhere() -> None:
    memory = InMemoryQueues()
    answer, said = await _receive(_ingest(memory), example("ping"))
    assert (answer.status, said["action"]) == (200, "ping")
    assert not memory.messages


async def test_a_repeated_delivery_is_accepted_again_under_the_same_id() -> None:
    memory = InMemoryQueues()
    ingest = _ingest(memory)
    for _ in range(2):
        assert (await _receive(ingest, example("push")))[0].status == 202
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
async def test_what_is_refused_is_kept_with_its_reason(
    body: bytes | dict[str, Any],
    environment: dict[str, str],
    registry: str | None,
    reason: str,
    status: int,
) -> None:
    memory = InMemoryQueues()
    sent = body if isinstance(body, bytes) or body else example("push")
    answer, said = await _receive(_ingest(memory, None, **environment), sent, registry)
    assert answer.status == said["status"] == status
    assert said["type"].endswith(reason)
    [record] = memory.messages.pop("acr-rejected")
    assert not memory.messages
    assert violations(RECORD, record) == []
    assert (record["reason"], record["status"]) == (reason, status)
    assert record["errors"] == said["errors"]
    assert record.get("registry") == registry


async def test_a_ping_with_a_wrong_registry_parameter_says_so() -> None:
    answer, _ = await _receive(_ingest(InMemoryQueues()), example("ping"), "not a host")
    assert answer.status == 422


async def test_an_event_that_no_message_can_hold_is_refused_and_kept() -> None:
    memory = InMemoryQueues()
    # The tag stands in the event twice, in data and in the subject.
    answer, said = await _receive(_ingest(memory), example("push", target__tag="v" * 30_000))
    assert answer.status == 413
    assert said["type"].endswith("event-too-large")
    [record] = memory.messages["acr-rejected"]
    assert json.loads(record["body"]["content"])["target"]["tag"] == "v" * 30_000


@pytest.mark.parametrize(
    ("delivery", "broken"), [({}, "acr-push"), ({"action": "pull"}, "acr-rejected")]
)
async def test_what_could_not_be_stored_is_a_503_that_says_when_to_come_again(
    delivery: dict[str, Any], broken: str
) -> None:
    answer, said = await _receive(_ingest(InMemoryQueues(broken)), delivery or example("push"))
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "10"
    assert said["type"].endswith("storage-unavailable")


def _two_routes() -> Routes:
    routes = {"routes": [{"queue": "one"}, {"queue": "two"}], "rejectedQueue": "acr-rejected"}
    return Routes.parse(json.dumps(routes).encode(), {})


async def test_an_event_with_two_queues_lies_on_both() -> None:
    memory = InMemoryQueues()
    answer, said = await _receive(_ingest(memory, _two_routes()), example("push"))
    assert (answer.status, said["queues"]) == (202, ["one", "two"])
    assert memory.messages["one"] == memory.messages["two"] != []


@pytest.mark.parametrize("keep", ["false", "true"])
async def test_an_event_that_no_route_takes_is_logged_or_where_that_is_set_kept(
    caplog: pytest.LogCaptureFixture, keep: str
) -> None:
    caplog.set_level(logging.INFO, "acr_webhook")
    memory = InMemoryQueues()
    ingest = _ingest(memory, Routes((), "acr-rejected"), ACR_KEEP_UNROUTED=keep)
    answer, said = await _receive(ingest, example("push"))
    [line] = [m for m in caplog.messages if m.startswith("acr_delivery ")]
    logged = json.loads(line.partition(" ")[2])
    assert logged["id"] == example("push")["id"]
    if keep == "false":
        assert (answer.status, said["queues"], dict(memory.messages)) == (202, [], {})
        assert (logged["outcome"], logged["queues"]) == ("unrouted", [])
        return
    assert (answer.status, logged["outcome"], logged["reason"]) == (422, "rejected", "unrouted")
    [record] = memory.messages["acr-rejected"]
    assert (record["reason"], record["status"]) == ("unrouted", 422)


async def test_lines_of_the_last_net_are_short_however_much_there_is_to_say(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = [f"{'q' * 58}-{number:04}" for number in range(500)]
    routes = {"routes": [{"queue": name} for name in names], "rejectedQueue": "acr-rejected"}
    ingest = _ingest(InMemoryQueues(*names), Routes.parse(json.dumps(routes).encode(), {}))
    body = json.dumps(example("push") | {"notes": "n" * 30_000}).encode()
    odd = "😀" * 300
    answer = await ingest.receive(Delivery(body, None, odd, datetime.now(UTC), odd))
    assert answer.status == 503
    assert max(map(len, caplog.messages)) <= 32_768
    lines = [json.loads(m.partition(" ")[2]) for m in caplog.messages if m.startswith(LOST)]
    assert b"".join(body_bytes(line["body"]) for line in lines) == body
    assert lines[0]["queues"] == [*names[:100], "and 400 more"]


async def test_if_one_queue_of_two_fails_it_is_503_and_the_last_net_names_that_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = InMemoryQueues("two")
    answer, said = await _receive(_ingest(memory, _two_routes()), example("push"))
    assert answer.status == 503
    assert "two: " in said["detail"]
    assert "one: " not in said["detail"]
    assert len(memory.messages["one"]) == 1
    [line] = [m for m in caplog.messages if m.startswith("acr_lost_delivery ")]
    lost = json.loads(line.partition(" ")[2])
    assert (lost["reason"], lost["queues"]) == ("storage-unavailable", ["two"])
    assert lost["detail"] == "two: Storage did not answer in time."
    assert json.loads(lost["body"]["content"]) == example("push")


async def test_the_queues_of_an_event_are_served_at_once_under_the_budget_that_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = asyncio.Barrier(2)  # one after the other, they would wait for ever
    left = []

    async def send(_: str, _message: bytes, deadline: float, _id: str | None = None) -> None:
        left.append(deadline - asyncio.get_running_loop().time())
        await both.wait()

    memory = InMemoryQueues()
    monkeypatch.setattr(memory, "send", send)
    ingest = _ingest(memory, _two_routes(), ACR_BUDGET_SECONDS="25")
    async with asyncio.timeout(20):
        answer, _ = await _receive(ingest, example("push"))
    assert answer.status == 202
    assert all(15 < seconds <= 25 for seconds in left)


async def test_one_line_is_logged_for_each_delivery_with_what_an_operator_asks_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "acr_webhook")
    ingest = _ingest(InMemoryQueues("acr-delete"))
    for body in (example("push"), example("ping"), example("delete"), {"action": "pull\n"}):
        delivery = Delivery(json.dumps(body).encode(), None, "00-1", datetime.now(UTC), "inv-1")
        await ingest.receive(delivery)
    lines = [
        json.loads(message.partition(" ")[2])
        for message in caplog.messages
        if message.startswith("acr_delivery ")
    ]
    assert [line["outcome"] for line in lines] == ["accepted", "ping", "lost", "rejected"]
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


async def test_nobody_can_forge_a_line_or_a_field_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "acr_webhook")
    forged = 'x"}\nacr_delivery {"outcome": "accepted", \u2028 é'
    ingest = _ingest(InMemoryQueues())
    await _receive(ingest, example("push"), forged)
    name = forged.replace("\n", "")
    await _receive(ingest, example("push", target__repository=name, id="i" * 5000))
    for record in caplog.records:
        assert record.msg == "%s %s"  # what came from outside is no part of the text
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
        "timestamp": st.datetimes().map(lambda moment: moment.isoformat() + "Z") | JSON,
        "target": st.dictionaries(FIELDS, st.just("sha256:ab") | JSON) | JSON,
        "request": st.dictionaries(FIELDS, st.just("a.azurecr.io") | JSON) | JSON,
    },
)
VALID = st.builds(
    lambda action, id_, moment, repository, tag, more: {
        "id": id_,
        "timestamp": moment.isoformat() + "Z",
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


@pytest.mark.no_cover  # other tests run the same lines, and tracing doubles the time
@pytest.mark.parametrize("kind", BODIES)
@settings(
    max_examples=625, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(data=st.data(), parameter=PARAMETERS)
async def test_every_body_ends_as_enqueued_ping_or_rejected_and_kept(
    data: st.DataObject, parameter: str | None, kind: str
) -> None:
    body = data.draw(BODIES[kind])
    memory = InMemoryQueues()
    PROPERTY_INGEST.queues = memory
    answer, said = await _receive(PROPERTY_INGEST, body, parameter)
    match answer.status:
        case 200:
            assert said["action"] == "ping"
            assert not memory.messages
        case 202:
            assert list(memory.messages) == said["queues"] != []
            for [event] in memory.messages.values():
                read_back(event)
        case 400 | 403 | 413 | 422:
            [record] = memory.messages.pop("acr-rejected")
            assert not memory.messages
            assert violations(RECORD, record) == []
            assert record["status"] == answer.status
            assert record["body"]["length"] == len(body)
        case _:
            pytest.fail(f"answered {answer.status}")


PROPERTY_INGEST = _ingest(InMemoryQueues())
