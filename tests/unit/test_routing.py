import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from shared.core.actions import event_actions
from shared.core.cloud_event import CloudEvent
from shared.core.routing import ROUTES_FILE, VALUES, Routes, RoutesError
from shared.core.schemas import validator

BAD = sorted((Path(__file__).parent.parent / "routes" / "bad").glob("*.json"))
APP_SETTINGS = {"Good": "good", "Empty": " ", "Secret": "Not_A_Queue_but_a_Secret",
                "Two": "team-a/*, team-b/*", "Not": "!x"}  # fmt: skip


def _routes(*routes: dict[str, Any], settings: Mapping[str, str] | None = None) -> Routes:
    document = {"routes": list(routes), "rejectedQueue": "acr-rejected"}
    return Routes.parse(json.dumps(document).encode(), settings or {})


def _event(action: str, registry: str | None = None, **target: str) -> CloudEvent:
    """The part of an event that filters look at."""
    event = {"data": {"action": action, "target": target}}
    return cast("CloudEvent", event | ({"acrregistry": registry} if registry else {}))


def test_as_shipped_every_event_type_has_a_queue_of_its_own() -> None:
    routes = Routes.load({})
    assert routes.rejected_queue == "acr-rejected"
    assert {action: routes.queues_for(_event(action)) for action in event_actions()} == {
        "push": ["acr-push"],
        "delete": ["acr-delete"],
        "chart_push": ["acr-chart-push"],
        "chart_delete": ["acr-chart-delete"],
        "quarantine": ["acr-quarantine"],
    }


def test_the_shipped_file_names_the_schema_that_editors_check_it_with() -> None:
    document = json.loads(ROUTES_FILE.read_bytes())
    assert (ROUTES_FILE.parent / document["$schema"]).is_file()


def test_a_route_without_actions_takes_every_event() -> None:
    assert _routes({"queue": "all"}).queues_for(_event("delete")) == ["all"]


def test_an_event_goes_to_every_route_that_wants_it_but_to_a_queue_once() -> None:
    routes = _routes(
        {"queue": "one", "actions": ["push"]},
        {"queue": "two", "actions": ["push", "delete"]},
        {"queue": "one"},
    )
    assert routes.queues_for(_event("push")) == ["one", "two"]
    assert routes.queues_for(_event("delete")) == ["two", "one"]


def test_an_event_that_no_route_wants_goes_nowhere() -> None:
    assert _routes({"queue": "one", "actions": ["push"]}).queues_for(_event("delete")) == []


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_routes_that_cannot_be_used_say_where_and_why(file: Path) -> None:
    with pytest.raises(RoutesError) as caught:
        Routes.parse(file.read_bytes(), APP_SETTINGS)
    assert str(caught.value) + "\n" == file.with_suffix(".txt").read_text()
    assert "Secret" not in str(caught.value).replace("%Secret%", "")
    assert "team-b" not in str(caught.value)


def test_each_bad_example_has_a_message_of_its_own() -> None:
    assert len(BAD) >= 40
    messages = [(file.read_bytes(), file.with_suffix(".txt").read_text()) for file in BAD]
    # The same fault written in two ways may say the same.
    assert len({message for _, message in messages}) >= len(BAD) - 1
    for _, message in messages:
        assert re.search(r"^(/|\(top\): |not JSON: )", message), message


def test_a_fault_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_text("{}")
    with pytest.raises(RoutesError, match=r"^routes\.json cannot be used:\n  /rejectedQueue: is"):
        Routes.load({}, file)


def test_app_settings_are_put_in_wherever_they_are_named() -> None:
    routes = _routes(
        {"queue": "team-%Team%-%Good%", "repositories": ["%Team%/*"]},
        settings={"Team": " a ", "Good": "good"},
    )
    assert routes.queues == ["team-a-good", "acr-rejected"]
    assert routes.queues_for(_event("push", repository="a/web")) == ["team-a-good"]
    assert routes.queues_for(_event("push", repository="b/web")) == []


def test_the_queue_of_what_is_refused_can_be_an_app_setting_too() -> None:
    document = b'{"routes": [], "rejectedQueue": "%Rejected%"}'
    assert Routes.parse(document, {"Rejected": "kept"}).rejected_queue == "kept"


def test_names_and_the_schema_stand_for_themselves() -> None:
    document = {"$schema": "a%20b%20", "routes": [{"queue": "one", "name": "%A%"}]}
    routes = Routes.parse(json.dumps({**document, "rejectedQueue": "kept"}).encode(), {})
    assert routes.routes[0].name == "%A%"


def test_every_filter_of_the_schema_is_looked_at() -> None:
    known = validator("routes.v1.json").document["properties"]["routes"]["items"]["properties"]
    assert set(known) == {"name", "queue", *VALUES}


def test_a_route_without_a_name_is_called_by_its_queue() -> None:
    routes = _routes({"queue": "one"}, {"queue": "two", "name": "second"}).routes
    assert [route.name for route in routes] == ["one", "second"]


def test_a_route_says_which_filters_turned_an_event_away() -> None:
    [route] = _routes(
        {"queue": "one", "actions": ["push"], "repositories": ["team-a/*"], "tags": ["v*"]}
    ).routes
    assert route.mismatch_reasons(_event("push", repository="team-a/web", tag="v1")) == {}
    assert route.mismatch_reasons(_event("push", repository="other", tag="latest")) == {
        "repositories": '"other" is none of: team-a/*',
        "tags": '"latest" is none of: v*',
    }


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(RoutesError, match=r"routes\.json cannot be read"):
        Routes.load({}, tmp_path / "routes.json")
    (tmp_path / "routes.json").write_bytes(b"\xff")
    with pytest.raises(RoutesError, match=r"not JSON: byte 0 is not UTF-8"):
        Routes.load({}, tmp_path / "routes.json")


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_bytes(b"\xef\xbb\xbf" + ROUTES_FILE.read_bytes())
    assert Routes.load({}, file).queues == Routes.load({}).queues


def test_each_filter_looks_at_its_field() -> None:
    """A filter tests the field that it is named after; a field that is not there is None."""
    target = {"repository": "team-a/web", "tag": "v1", "mediaType": "application/x"}
    event = _event("push", "a.io", **target)
    assert {name: value(event) for name, value in VALUES.items()} == {
        "actions": "push",
        "registries": "a.io",
        "repositories": "team-a/web",
        "tags": "v1",
        "mediaTypes": "application/x",
    }
    assert {name: value(_event("push")) for name, value in VALUES.items()} == {
        "actions": "push",
        "registries": None,
        "repositories": None,
        "tags": None,
        "mediaTypes": None,
    }


def test_all_faults_are_named_a_line_each(tmp_path: Path) -> None:
    """A file with several faults is named once, and each fault has a line below."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [], "rejectedQueue": "kept", "é": 1, "x": 1}')
    with pytest.raises(RoutesError) as caught:
        Routes.load({}, file)
    known = "is not known; known are: $schema, routes, rejectedQueue"
    assert str(caught.value) == f"routes.json cannot be used:\n  /x: {known}\n  /é: {known}"


def test_missing_file_has_the_system_s_reason(tmp_path: Path) -> None:
    """A file that cannot be read is named with what the operating system says."""
    with pytest.raises(
        RoutesError, match=r"^routes\.json cannot be read: \[Errno 2\] No such file"
    ):
        Routes.load({}, tmp_path / "routes.json")


def test_login_servers_are_matched_in_lower_case() -> None:
    """A pattern in lower case, or with a choice of characters, can match a login server."""
    route = {"queue": "one", "registries": ["contoso.azurecr.io", "[Cc]ontoso.azurecr.io"]}
    event = _event("push", "contoso.azurecr.io")
    assert _routes(route).queues_for(event) == ["one"]
    assert _routes(route).queues_for(_event("push", "fabrikam.azurecr.io")) == []
