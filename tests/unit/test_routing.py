import json
from pathlib import Path
from typing import Any

import pytest

from shared.actions import actions
from shared.routing import ROUTES_FILE, Routes, RoutesError

RAISING = [name for name, action in actions().items() if action.type]
QUEUE = "queue name (3 to 63 lower-case letters, digits and single inner hyphens)"


def _routes(*routes: dict[str, Any]) -> Routes:
    document = {"routes": list(routes), "rejectedQueue": "acr-rejected"}
    return Routes.parse(json.dumps(document).encode(), RAISING)


def _event(action: str) -> dict[str, Any]:
    return {"data": {"action": action}}


def test_as_shipped_every_event_type_has_a_queue_of_its_own() -> None:
    routes = Routes.load(RAISING)
    assert routes.rejected_queue == "acr-rejected"
    assert {action: routes.queues_for(_event(action)) for action in RAISING} == {
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


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["not JSON: it is empty"]),
        ('{"routes":\n  x}', ["not JSON: Expecting value at line 2 column 3"]),
        ("[" * 100_000, ["not JSON"]),
        ("[]", ["(top): must be of type object, not an array"]),
        ("{}", ["/rejectedQueue: is required", "/routes: is required"]),
        ('{"routes": {}, "rejectedQueue": "acr-rejected"}', ["/routes: must be of type array"]),
        ('{"routes": [{}], "rejectedQueue": "acr-rejected"}', ["/routes/0/queue: is required"]),
        (
            '{"routes": [{"queue": "Acr_Push"}], "rejectedQueue": "r"}',
            [
                f'/rejectedQueue: is not a valid {QUEUE}: "r"',
                f'/routes/0/queue: is not a valid {QUEUE}: "Acr_Push"',
            ],
        ),
        ('{"routes": [{"queue": "a--b"}], "rejectedQueue": "acr-rejected"}', ["/routes/0/queue"]),
        ('{"routes": [{"queue": "-ab"}], "rejectedQueue": "acr-rejected"}', ["/routes/0/queue"]),
        ('{"routes": [{"queue": "ab\\n"}], "rejectedQueue": "acr-rejected"}', ["/routes/0/queue"]),
        (
            '{"routes": [{"queue": "acr-push", "action": ["push"]}], "rejectedQueue": "acr-x"}',
            ["/routes/0: ", "'action' was unexpected"],
        ),
        ('{"routes": [], "routes": [], "rejectedQueue": "acr-x"}', ["occurs twice in one object"]),
        ('{"routes": [{"queue": "acr-x"}], "rejectedQueue": "acr-x"}', ["/routes/0/queue: is the"]),
        (
            '{"routes": [{"queue": "acr-push", "actions": "push"}], "rejectedQueue": "acr-x"}',
            ["/routes/0/actions: must be of type array"],
        ),
        (
            '{"routes": [{"queue": "acr-push", "actions": []}], "rejectedQueue": "acr-x"}',
            ["/routes/0/actions: "],
        ),
        (
            '{"routes": [{"queue": "acr-push", "actions": ["push", "psuh", "ping"]}],'
            ' "rejectedQueue": "acr-x"}',
            ['/routes/0/actions/1: "psuh" is no action', '/routes/0/actions/2: "ping"', "push, "],
        ),
    ],
)
def test_routes_that_cannot_be_used_say_where_and_why(
    text: str, faults: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "routes.json"
    file.write_text(text)
    with pytest.raises(RoutesError, match=r"^routes\.json cannot be used:\n") as caught:
        Routes.load(RAISING, file)
    for fault in faults:
        assert fault in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(RoutesError, match=r"routes\.json cannot be read"):
        Routes.load(RAISING, tmp_path / "routes.json")
    (tmp_path / "routes.json").write_bytes(b"\xff")
    with pytest.raises(RoutesError, match=r"not JSON: byte 0 is not UTF-8"):
        Routes.load(RAISING, tmp_path / "routes.json")


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    file.write_bytes(b"\xef\xbb\xbf" + ROUTES_FILE.read_bytes())
    assert Routes.load(RAISING, file) == Routes.load(RAISING)
