"""What an entry of the registry's delivery log says about a delivery."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.problems import Kind, Problem
from shared.core.responses import problem_details
from shared.core.webhooks import Webhook, webhooks
from shared.reconcile.delivery_log import Entry, Verdict, Window, read

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=30), NOW)
ID = (
    "/subscriptions/0/resourceGroups/images/providers/Microsoft.ContainerRegistry"
    "/registries/Contoso/webhooks/events"
)


def _entry(delivery: object = None, **response: object) -> dict[str, Any]:
    delivery = delivery or {"id": "a", "timestamp": "2026-11-21T11:00:00.123456789Z"}
    return {
        "id": "entry",
        "eventRequestMessage": {"content": delivery},
        "eventResponseMessage": response,
    }


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.status < 500])
def test_own_rejection_is_recognized_by_response(kind: Kind) -> None:
    """An entry with the app's own 4xx response counts as rejected, even if the response is cut."""
    response = problem_details(Problem(kind, "because")).body.decode()
    for content in (response, response[:90]):
        entry = read(_entry(statusCode=str(kind.status), content=content), WINDOW)
        assert entry.verdict is Verdict.REFUSED


@pytest.mark.parametrize("kind", [Kind.INTERNAL_ERROR, Kind.STORAGE_UNAVAILABLE])
def test_own_5xx_response_is_missed(kind: Kind) -> None:
    """An entry with the app's own 5xx response counts as missed."""
    response = problem_details(Problem(kind, "because")).body.decode()
    entry = read(_entry(statusCode=str(kind.status), content=response), WINDOW)
    assert entry.verdict is Verdict.MISSED


@pytest.mark.parametrize(
    ("timestamp", "verdict"),
    [
        ("2026-11-21T11:58:59Z", Verdict.MISSED),
        ("2026-11-21T11:59:01Z", Verdict.YOUNG),
        ("2026-11-21T13:59:30+02:00", Verdict.YOUNG),
        ("2026-11-21T12:00:59Z", Verdict.YOUNG),
        ("2026-11-21T12:01:01Z", Verdict.MISSED),
        ("2026-10-22T12:00:01Z", Verdict.MISSED),
        ("2026-10-22T11:59:59Z", Verdict.OLD),
        ("yesterday", Verdict.MISSED),
        (5, Verdict.MISSED),
        (None, Verdict.MISSED),
    ],
)
def test_age_decides_the_verdict(timestamp: object, verdict: Verdict) -> None:
    """The timestamp of a delivery decides whether it is missed, too young or too old."""
    assert read(_entry({"id": "a", "timestamp": timestamp}), WINDOW).verdict is verdict


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "content", "eventRequestMessage", "eventResponseMessage", "statusCode",
                 "requestUri", "request", "timestamp", "action", "headers"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_entry_reads_with_an_id(entry: object) -> None:
    """Every JSON value reads as an entry with an id and a JSON body."""
    found = read(entry, WINDOW)
    assert found == read(json.loads(json.dumps(entry)), WINDOW) or entry != entry
    assert found.id
    json.loads(found.body)


def test_webhooks_come_from_resource_ids() -> None:
    """A list of resource ids gives each webhook once."""
    [first, second] = webhooks(f" {ID}, {ID.upper()} ,, {ID}2")
    assert first == Webhook(ID, "0", "images", "Contoso", "events")
    assert (first.label, first.registry_id) == ("Contoso/events", ID.partition("/webhooks")[0])
    assert second.name == "events2"
    assert webhooks("") == ()


@pytest.mark.parametrize(
    "text", ["x", ID[1:], f"{ID}/x", f"{ID}?x", ID.replace("/webhooks/events", ""), f"{ID}\n/"]
)
def test_invalid_webhook_id_names_its_entry(text: str) -> None:
    """A text that is not a webhook's resource id raises an error with the entry's number."""
    with pytest.raises(ValueError, match=r"entry 2: .* is not the resource id of a webhook"):
        webhooks(f"{ID},{text}")


def test_verdict_values_are_stable() -> None:
    """The verdicts keep the values that reports and alerts query."""
    assert {verdict.name: verdict.value for verdict in Verdict} == {
        "DELIVERED": "delivered",
        "REFUSED": "rejected",
        "PING": "pings",
        "YOUNG": "too young",
        "OLD": "too old",
        "MISSED": "missed",
        "MALFORMED": "malformed",
    }


@pytest.mark.parametrize(
    ("timestamp", "verdict"),
    [
        (WINDOW.since, Verdict.MISSED),
        (WINDOW.since - timedelta(microseconds=1), Verdict.OLD),
        (NOW - timedelta(minutes=1), Verdict.MISSED),
        (NOW - timedelta(seconds=59.9), Verdict.YOUNG),
        (NOW + timedelta(minutes=1), Verdict.MISSED),
        (NOW + timedelta(seconds=59.9), Verdict.YOUNG),
    ],
)
def test_window_bounds_are_exact(timestamp: datetime, verdict: Verdict) -> None:
    """A delivery of the first instant is not too old; one of a minute ago is not too young."""
    assert WINDOW.verdict(timestamp.isoformat()) is verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("200", Verdict.DELIVERED),
        ("202", Verdict.DELIVERED),
        ("299", Verdict.DELIVERED),
        (202, Verdict.DELIVERED),
        ("199", Verdict.MISSED),
        ("300", Verdict.MISSED),
        ("403", Verdict.MISSED),
        ("504", Verdict.MISSED),
        ("", Verdict.MISSED),
        (None, Verdict.MISSED),
        (float("inf"), Verdict.MISSED),
        ([202], Verdict.MISSED),
    ],
)
def test_2xx_status_means_delivered(status: Any, verdict: Verdict) -> None:
    """A delivery arrived where its logged status is 2xx, as text or as a number."""
    assert read(_entry(statusCode=status), WINDOW).verdict is verdict


def test_entry_without_response_is_missed() -> None:
    """An entry counts as missed where it has no response, or none that is an object."""
    entry = _entry()
    assert read(entry | {"eventResponseMessage": None}, WINDOW).verdict is Verdict.MISSED
    del entry["eventResponseMessage"]
    assert read(entry, WINDOW).verdict is Verdict.MISSED


def test_missed_ping_counts_as_ping() -> None:
    """A ping that did not arrive counts as a ping at any age; one that did counts as delivered."""
    ping = {"id": "a", "action": "ping", "timestamp": "2026-11-21T12:00:00Z"}
    assert read(_entry(ping), WINDOW).verdict is Verdict.PING
    assert read(_entry(ping, statusCode="200"), WINDOW).verdict is Verdict.DELIVERED
    assert read(_entry(ping | {"action": "push"}), WINDOW).verdict is Verdict.YOUNG


@pytest.mark.parametrize(
    ("uri", "registry"),
    [
        ("https://app.example/api/AcrWebhook?code=x&registry=a.azurecr.io", "a.azurecr.io"),
        ("https://app.example/?registry=a.io&registry=b.io", "a.io"),
        ("https://app.example/?registry=", None),
        ("https://app.example/", None),
        ("https://[", None),
        (5, None),
    ],
)
def test_registry_parameter_comes_from_url(uri: Any, registry: str | None) -> None:
    """The logged URL gives the registry parameter, and an unreadable URL gives none."""
    entry = _entry()
    entry["eventRequestMessage"]["requestUri"] = uri
    found = read(entry, WINDOW)
    assert (found.registry, found.verdict) == (registry, Verdict.MISSED)
    assert found.region is None


def test_region_parameter_comes_from_url() -> None:
    """The logged URL gives the region parameter as it was sent."""
    entry = _entry()
    entry["eventRequestMessage"]["requestUri"] = "https://a.example/?code=x&region=East+US&region=b"
    assert read(entry, WINDOW).region == "East US"


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"x-functions-key": "k", "traceparent": TRACE}, TRACE),
        ({"TraceParent": TRACE, "tracestate": "a=b"}, TRACE),
        ({"traceparent": "k"}, None),
        ({"traceparent": TRACE + "\n"}, None),
        ({"traceparent": [TRACE]}, None),
        ({"traceparents": TRACE}, None),
        ({5: TRACE}, None),
        ({}, None),
        ([TRACE], None),
        (None, None),
    ],
)
def test_only_valid_trace_is_kept(headers: Any, trace: str | None) -> None:
    """Of the logged headers, an entry keeps a trace in W3C's form alone, however it is spelled."""
    entry = _entry()
    entry["eventRequestMessage"]["headers"] = headers
    found = read(entry, WINDOW)
    assert found.traceparent == trace
    assert found == replace(read(_entry(), WINDOW), traceparent=trace)


@pytest.mark.parametrize(
    ("status", "timed_out"), [("504", True), (504, True), ("503", False), (None, False)]
)
def test_504_means_timed_out(status: Any, timed_out: bool) -> None:
    """A missed delivery with status 504 timed out."""
    assert read(_entry(statusCode=status), WINDOW).timed_out is timed_out


def test_only_missed_deliveries_time_out() -> None:
    """A ping that timed out counts as a ping alone."""
    ping = {"id": "a", "action": "ping"}
    assert read(_entry(ping, statusCode="504"), WINDOW).timed_out is False


@pytest.mark.parametrize(
    ("request_", "names"),
    [({"host": "a.io"}, True), ({"host": ""}, False), ({"host": 5}, False), ([], False)],
)
def test_host_names_the_registry(request_: Any, names: bool) -> None:
    """A delivery names its registry where its host is a text that is not empty."""
    assert read(_entry({"id": "a", "request": request_}), WINDOW).names_registry is names


@pytest.mark.parametrize("id_", [None, "", 5])
def test_delivery_without_id_gets_hash(id_: Any) -> None:
    """A delivery without an id gets the SHA-256 of its JSON as its id."""
    body = json.dumps({"id": id_}, separators=(",", ":")).encode()
    found = read(_entry({"id": id_}), WINDOW)
    assert (found.id, found.body) == (hashlib.sha256(body).hexdigest(), body)


def test_delivery_logged_as_text_is_parsed() -> None:
    """An entry whose content is text holds that delivery, and its JSON keeps every character."""
    found = read(_entry('{"id": "a", "x": "\u00e9", "y": [1, {}]}'), WINDOW)
    body = '{"id":"a","x":"é","y":[1,{}]}'.encode()
    assert found == Entry("a", body, Verdict.MISSED, None, names_registry=False)


@pytest.mark.parametrize(
    ("members", "id_", "body"),
    [
        ({"id": "entry"}, "entry", b'{"id":"entry","content":"x"}'),
        ({"id": ""}, None, b'{"id":"","content":"x"}'),
        ({"id": 5}, None, b'{"id":null,"content":"x"}'),
        ({}, None, b'{"id":null,"content":"x"}'),
    ],
)
def test_malformed_entry_keeps_id_and_content(
    members: dict[str, Any], id_: str | None, body: bytes
) -> None:
    """An entry without a delivery keeps its id and content, never its headers or URL."""
    request = {
        "content": "x",
        "headers": {"x-functions-key": "k"},
        "requestUri": "https://a/?code=k",
    }
    found = read(members | {"eventRequestMessage": request}, WINDOW)
    id_ = id_ or hashlib.sha256(body).hexdigest()
    assert found == Entry(id_, body, Verdict.MALFORMED, None, names_registry=False)


def test_malformed_entry_can_be_delivered() -> None:
    """An entry with a 2xx response counts as delivered even where its content is unreadable."""
    entry = {"id": "a", "eventRequestMessage": {"content": None},
             "eventResponseMessage": {"statusCode": "202"}}  # fmt: skip
    assert read(entry, WINDOW).verdict is Verdict.DELIVERED


def test_deep_entry_is_malformed() -> None:
    """An entry with JSON that is nested too deep counts as malformed, by its own id."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    found = read(
        {"id": "entry", "eventRequestMessage": {"content": {"id": "a", "x": deep}}}, WINDOW
    )
    body = b'{"id":"entry","content":null}'
    assert found == Entry("entry", body, Verdict.MALFORMED)


def test_unserializable_content_is_malformed() -> None:
    """An entry whose content has no JSON form counts as malformed and raises nothing."""
    circle: list[Any] = []
    circle.append(circle)
    for content in ({"x": circle}, {("a",): 1}):
        found = read({"id": "entry", "eventRequestMessage": {"content": content}}, WINDOW)
        assert (found.id, found.verdict) == ("entry", Verdict.MALFORMED)


def test_lone_surrogate_is_escaped() -> None:
    """The body escapes half of a surrogate pair, which UTF-8 cannot hold."""
    assert json.loads(read(_entry({"id": "a", "x": "\ud800"}), WINDOW).body)["x"] == "\ud800"
