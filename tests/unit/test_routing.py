"""Routes, and the queues that they give to events."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from shared.core.actions import event_actions
from shared.core.cloud_event import CloudEvent
from shared.core.routing import VALUES, Routes, RoutesError, digest_of
from shared.core.schemas import validator
from tests.support.documents import ROOT
from tests.support.routes import SHIPPED_ROUTES

BAD = sorted((Path(__file__).parent.parent / "routes" / "bad").glob("*.json"))
APP_SETTINGS = {"Good": "good", "Empty": " ", "Secret": "Not_A_Queue_but_a_Secret",
                "Two": "team-a/*, team-b/*", "Not": "!x"}  # fmt: skip


def _routes(*routes: dict[str, Any], settings: Mapping[str, str] | None = None) -> Routes:
    document = {"routes": list(routes), "rejectedQueue": "acr-rejected"}
    return Routes.parse(json.dumps(document).encode(), settings or {})


def _event(
    action: str, registry: str | None = None, region: str | None = None, **target: str
) -> CloudEvent:
    """The part of an event that filters test."""
    event = {"data": {"action": action, "target": target}}
    named = {"acrregistry": registry, "acrregion": region}
    return cast("CloudEvent", event | {name: value for name, value in named.items() if value})


def test_shipped_routes_separate_event_types() -> None:
    """The shipped routes give each event type a queue of its own."""
    routes = Routes.load({})
    assert routes.rejected_queue == "acr-rejected"
    assert {action: routes.queues_for(_event(action)) for action in event_actions()} == {
        action: [f"acr-{action.replace('_', '-')}"] for action in event_actions()
    }


def test_shipped_routes_name_their_schema() -> None:
    """The shipped routes name the schema file with which editors check them."""
    document = json.loads(SHIPPED_ROUTES.read_bytes())
    assert (ROOT / document["$schema"]).is_file()


def test_route_without_actions_matches_everything() -> None:
    """A route without actions matches every event."""
    assert _routes({"queue": "all"}).queues_for(_event("delete")) == ["all"]


def test_event_reaches_each_queue_once() -> None:
    """An event goes to the queue of every matching route, but to each queue once."""
    routes = _routes(
        {"queue": "one", "actions": ["push"]},
        {"queue": "two", "actions": ["push", "delete"]},
        {"queue": "one"},
    )
    assert routes.queues_for(_event("push")) == ["one", "two"]
    assert routes.queues_for(_event("delete")) == ["two", "one"]


@pytest.mark.parametrize("first", [True, False])
def test_fallback_gets_what_no_other_matches(first: bool) -> None:
    """A fallback route gets an event only if no other route matches it, wherever it stands."""
    fallback: dict[str, Any] = {"queue": "rest", "fallback": True}
    others: list[dict[str, Any]] = [
        {"queue": "production", "actions": ["push"], "tags": ["v*"]},
        {"queue": "team-a", "repositories": ["a"]},
    ]
    routes = _routes(*([fallback, *others] if first else [*others, fallback]))
    assert routes.queues_for(_event("push", tag="v1", repository="b")) == ["production"]
    assert routes.queues_for(_event("push", tag="v1", repository="a")) == ["production", "team-a"]
    assert routes.queues_for(_event("push", tag="latest", repository="b")) == ["rest"]
    assert routes.queues_for(_event("delete", repository="b")) == ["rest"]
    assert set(routes.queues) == {"rest", "production", "team-a", "acr-rejected"}


def test_fallback_has_filters_too() -> None:
    """A fallback route gets only events that pass its filters, and so do several of them."""
    routes = _routes(
        {"queue": "production", "tags": ["v*"]},
        {"queue": "pushes", "fallback": True, "actions": ["push"]},
        {"queue": "rest", "fallback": True},
        {"queue": "no-fallback", "fallback": False, "actions": ["quarantine"]},
    )
    assert routes.queues_for(_event("push", tag="latest")) == ["pushes", "rest"]
    assert routes.queues_for(_event("delete")) == ["rest"]
    assert routes.queues_for(_event("quarantine")) == ["no-fallback"]


def test_digest_names_content(tmp_path: Path) -> None:
    """The digest is the beginning of the file's SHA-256, even if the routes are invalid."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [], "rejectedQueue": "acr-rejected"}')
    assert Routes.load({}, file).digest == digest_of(file) == "7f8711032ad2"
    file.write_text("{")
    unusable = Routes.unusable(RoutesError("Why."), {}, file)
    assert unusable.digest == hashlib.sha256(b"{").hexdigest()[:12]
    assert digest_of(tmp_path / "absent.json") == ""


def test_unmatched_event_has_no_queue() -> None:
    """An event that matches no route goes to no queue."""
    assert _routes({"queue": "one", "actions": ["push"]}).queues_for(_event("delete")) == []


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_bad_routes_state_place_and_reason(file: Path) -> None:
    """The error for invalid routes states the place and the reason, and no app setting's value."""
    with pytest.raises(RoutesError) as caught:
        Routes.parse(file.read_bytes(), APP_SETTINGS)
    expected = file.with_suffix(".txt").read_text().replace("{actions}", ", ".join(event_actions()))
    assert str(caught.value) + "\n" == expected
    assert "Secret" not in str(caught.value).replace("%Secret%", "")
    assert "team-b" not in str(caught.value)


def test_bad_examples_have_distinct_messages() -> None:
    """Each invalid example has a message of its own."""
    assert len(BAD) >= 40
    messages = [(file.read_bytes(), file.with_suffix(".txt").read_text()) for file in BAD]
    # The same error in two notations may have the same message.
    assert len({message for _, message in messages}) >= len(BAD) - 1
    for _, message in messages:
        assert re.search(r"^(/|\(top\): |not JSON: )", message), message


def test_routes_error_names_the_file(tmp_path: Path) -> None:
    """The error for invalid routes names the file."""
    file = tmp_path / "routes.json"
    file.write_text("{}")
    with pytest.raises(RoutesError, match=r"^routes\.json cannot be used:\n  /rejectedQueue: is"):
        Routes.load({}, file)


def test_app_settings_replace_their_placeholders() -> None:
    """App settings replace their placeholders in queue names and filters."""
    routes = _routes(
        {"queue": "team-%Team%-%Good%", "repositories": ["%Team%/*"]},
        settings={"Team": " a ", "Good": "good"},
    )
    assert routes.queues == ["team-a-good", "acr-rejected"]
    assert routes.queues_for(_event("push", repository="a/web")) == ["team-a-good"]
    assert routes.queues_for(_event("push", repository="b/web")) == []


def test_dead_letter_queue_can_be_setting() -> None:
    """The name of the dead-letter queue can come from an app setting."""
    document = b'{"routes": [], "rejectedQueue": "%Rejected%"}'
    assert Routes.parse(document, {"Rejected": "kept"}).rejected_queue == "kept"


def test_route_name_keeps_its_placeholders() -> None:
    """Placeholders in the name of a route and in `$schema` stay as they are."""
    document = {"$schema": "a%20b%20", "routes": [{"queue": "one", "name": "%A%"}]}
    routes = Routes.parse(json.dumps({**document, "rejectedQueue": "kept"}).encode(), {})
    assert routes.routes[0].name == "%A%"


def test_schema_has_exactly_known_filters() -> None:
    """The schema of a route has a name, a queue and exactly the filters that the code tests."""
    known = validator("routes.v1.json").document["properties"]["routes"]["items"]["properties"]
    assert set(known) == {"name", "queue", "fallback", *VALUES}


def test_unnamed_route_uses_queue_name() -> None:
    """A route without a name has the name of its queue."""
    routes = _routes({"queue": "one"}, {"queue": "two", "name": "second"}).routes
    assert [route.name for route in routes] == ["one", "second"]


def test_route_gives_mismatch_reasons() -> None:
    """A route gives a mismatch reason for each filter that does not match the event."""
    [route] = _routes(
        {"queue": "one", "actions": ["push"], "repositories": ["team-a/*"], "tags": ["v*"]}
    ).routes
    assert route.mismatch_reasons(_event("push", repository="team-a/web", tag="v1")) == {}
    assert route.mismatch_reasons(_event("push", repository="other", tag="latest")) == {
        "repositories": '"other" is none of: team-a/*',
        "tags": '"latest" is none of: v*',
    }


def test_unreadable_routes_file_is_named(tmp_path: Path) -> None:
    """The error for a routes file that is missing or not text names the file."""
    with pytest.raises(RoutesError, match=r"routes\.json cannot be read"):
        Routes.load({}, tmp_path / "routes.json")
    (tmp_path / "routes.json").write_bytes(b"\xff")
    with pytest.raises(RoutesError, match=r"not JSON: byte 0 is not UTF-8"):
        Routes.load({}, tmp_path / "routes.json")


def test_routes_may_have_byte_order_mark(tmp_path: Path) -> None:
    """A routes file may begin with a byte order mark."""
    file = tmp_path / "routes.json"
    file.write_bytes(b"\xef\xbb\xbf" + SHIPPED_ROUTES.read_bytes())
    assert Routes.load({}, file).queues == Routes.load({}).queues


def test_each_filter_tests_its_field() -> None:
    """A filter tests the field that it is named after; a missing field is None."""
    target = {"repository": "team-a/web", "tag": "v1", "mediaType": "application/x"}
    event = _event("push", "a.io", "eastus", **target)
    assert {name: value(event) for name, value in VALUES.items()} == {
        "actions": "push",
        "registries": "a.io",
        "regions": "eastus",
        "repositories": "team-a/web",
        "tags": "v1",
        "mediaTypes": "application/x",
    }
    assert {name: value(_event("push")) for name, value in VALUES.items()} == {
        "actions": "push",
        "registries": None,
        "regions": None,
        "repositories": None,
        "tags": None,
        "mediaTypes": None,
    }


def test_each_routes_error_has_its_line(tmp_path: Path) -> None:
    """The message names the file once and has a line for each error."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [], "rejectedQueue": "kept", "é": 1, "x": 1}')
    with pytest.raises(RoutesError) as caught:
        Routes.load({}, file)
    known = "is not known; known are: $schema, routes, rejectedQueue"
    assert str(caught.value) == f"routes.json cannot be used:\n  /x: {known}\n  /é: {known}"


def test_missing_file_has_system_reason(tmp_path: Path) -> None:
    """The error for a missing routes file quotes the operating system."""
    with pytest.raises(
        RoutesError, match=r"^routes\.json cannot be read: \[Errno 2\] No such file"
    ):
        Routes.load({}, tmp_path / "routes.json")


def test_login_servers_match_in_lowercase() -> None:
    """A pattern in lower case, or with a choice of characters, matches a login server."""
    route = {"queue": "one", "registries": ["contoso.azurecr.io", "[Cc]ontoso.azurecr.io"]}
    event = _event("push", "contoso.azurecr.io")
    assert _routes(route).queues_for(event) == ["one"]
    assert _routes(route).queues_for(_event("push", "fabrikam.azurecr.io")) == []


@pytest.mark.parametrize(
    ("patterns", "region", "queues"),
    [
        (["westeurope"], "westeurope", ["one"]),
        (["west*", "!westus*"], "westus2", []),
        (["westeurope"], None, []),
        (["!westeurope"], None, ["one"]),
        (["[Ww]esteurope"], "westeurope", ["one"]),
    ],
)
def test_region_filter_takes_its_regions(
    patterns: list[str], region: str | None, queues: list[str]
) -> None:
    """A filter on regions takes the events of these regions; an event without one is in none."""
    routes = _routes({"queue": "one", "regions": patterns})
    assert routes.queues_for(_event("push", region=region)) == queues


@pytest.mark.parametrize(
    ("content", "queue"),
    [
        (b"{", "acr-rejected"),
        (b"[]", "acr-rejected"),
        (b'{"rejectedQueue": 5}', "acr-rejected"),
        (b'{"rejectedQueue": "Bad"}', "acr-rejected"),
        (b'{"rejectedQueue": "odd-%Missing%"}', "acr-rejected"),
        (b'{"rejectedQueue": "odd"}', "odd"),
        (b'{"rejectedQueue": "odd-%Stage%"}', "odd-test"),
    ],
)
def test_unusable_routes_keep_events(content: bytes, queue: str, tmp_path: Path) -> None:
    """Unusable routes match nothing, and keep the dead-letter queue as far as it is readable."""
    file = tmp_path / "routes.json"
    file.write_bytes(content)
    routes = Routes.unusable(RoutesError("why"), {"Stage": "test"}, file)
    assert (routes.routes, routes.queues) == ((), [queue])
    [found] = routes.misconfigured
    assert found.detail.endswith("Correct it, and replay. why")
    assert (
        Routes.unusable(RoutesError("why"), {}, tmp_path / "none").rejected_queue == "acr-rejected"
    )
