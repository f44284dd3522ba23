import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.problems import Kind, Problem
from shared.core.responses import refused
from shared.core.webhooks import Webhook, webhooks
from shared.reconcile.delivery_log import Verdict, Window, read

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
def test_what_the_app_itself_refused_is_known_by_its_words(kind: Kind) -> None:
    answer = refused(Problem(kind, "because")).body.decode()
    for content in (answer, answer[:90]):
        entry = read(_entry(statusCode=str(kind.status), content=content), WINDOW)
        assert entry.verdict is Verdict.REFUSED


@pytest.mark.parametrize("kind", [Kind.FAULT, Kind.STORAGE_UNAVAILABLE])
def test_what_the_app_could_not_store_is_missed(kind: Kind) -> None:
    answer = refused(Problem(kind, "because")).body.decode()
    entry = read(_entry(statusCode=str(kind.status), content=answer), WINDOW)
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
def test_age_decides_what_waits_and_what_is_left_alone(timestamp: object, verdict: Verdict) -> None:
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
def test_no_entry_makes_reading_fail_and_each_can_be_told_from_others(entry: object) -> None:
    found = read(entry, WINDOW)
    assert found == read(json.loads(json.dumps(entry)), WINDOW) or entry != entry
    assert found.id
    json.loads(found.body)


def test_webhooks_are_named_by_their_resource_ids_each_once() -> None:
    [first, second] = webhooks(f" {ID}, {ID.upper()} ,, {ID}2")
    assert first == Webhook(ID, "0", "images", "Contoso", "events")
    assert (first.label, first.registry_id) == ("Contoso/events", ID.partition("/webhooks")[0])
    assert second.name == "events2"
    assert webhooks("") == ()


@pytest.mark.parametrize(
    "text", ["x", ID[1:], f"{ID}/x", f"{ID}?x", ID.replace("/webhooks/events", ""), f"{ID}\n/"]
)
def test_what_is_no_resource_id_of_a_webhook_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"entry 2: .* is not the resource id of a webhook"):
        webhooks(f"{ID},{text}")
