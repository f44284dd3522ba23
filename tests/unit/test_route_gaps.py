"""The warnings of `routes check`."""

import json
from typing import Any

import pytest

from shared.core.actions import event_actions
from shared.core.routing import Routes
from tools.route_gaps import warnings

FALLBACK = {"queue": "rest", "fallback": True}


def _warnings(*routes: dict[str, Any]) -> list[str]:
    document = {"routes": list(routes), "rejectedQueue": "acr-rejected"}
    return warnings(Routes.parse(json.dumps(document).encode(), {}))


def _of(action: str, *routes: dict[str, Any]) -> str | None:
    """The gap of `action`, without its beginning."""
    begin = f"No route matches some {action} events. One of these has "
    return next((w.removeprefix(begin) for w in _warnings(*routes) if w.startswith(begin)), None)


def test_shipped_routes_have_no_warning() -> None:
    """The shipped routes match every event."""
    assert warnings(Routes.load({})) == []


def test_unmatched_actions_are_named() -> None:
    """Each action that no route matches is named, with the advice to add a fallback route."""
    found = _warnings({"queue": "one", "actions": ["push", "chart_*"]})
    left = [a for a in event_actions() if a != "push" and not a.startswith("chart_")]
    assert left[0] == "delete"
    assert found == [
        *(f"No route matches the action {action}." for action in left),
        'A route with "fallback": true would get these events.',
    ]


def test_fallback_closes_every_gap() -> None:
    """With a fallback route without filters, no event is left."""
    assert _warnings({"queue": "one", "actions": ["push"], "tags": ["v*"]}, FALLBACK) == []


@pytest.mark.parametrize(
    ("routes", "gap"),
    [
        ([{"repositories": ["team-a/*"]}], "repositories: other."),
        ([{"repositories": ["team-a/*", "!team-a/x*"]}, {"repositories": ["!team-a/*"]}],
         "repositories: team-a/xx."),
        ([{"tags": ["v*"]}], "tags: other."),
        ([{"tags": ["*"]}], "tags: (none)."),
        ([{"tags": ["v*"]}, {"tags": ["!v*"]}], None),
        ([{"tags": ["!v*"], "repositories": ["a"]}, {"tags": ["v*"]}],
         "repositories: other, tags: other."),
        ([{"tags": ["v*"], "repositories": ["a"]}, {"tags": ["!v*"]}],
         "repositories: other, tags: vx."),
        ([{"registries": ["contoso.azurecr.io"]}], "registries: other.azurecr.io."),
        ([{"regions": ["*"]}], "regions: (none)."),
        ([{"regions": ["!eastus"]}], "regions: eastus."),
        ([{"mediaTypes": ["*.oci.*"]}], "mediaTypes: application/other."),
        ([{"repositories": ["o*"]}, {"repositories": ["!o*"]}], None),
        ([{"repositories": ["*"]}], None),
        ([{}], None),
    ],
)  # fmt: skip
def test_gap_between_routes_is_shown(routes: list[dict[str, Any]], gap: str | None) -> None:
    """An event that falls between the filters of the routes is shown with the values that count."""
    assert _of("push", *({"queue": "one", **route} for route in routes)) == gap


def test_gap_of_action_is_possible() -> None:
    """A gap shows no value that events of the action never have."""
    tags = {"queue": "one", "tags": ["v*"]}
    assert _of("delete", tags) == "tags: (none)."
    assert _of("quarantine", {"queue": "one", "mediaTypes": ["a/*"]}) == "mediaTypes: (none)."
    assert _of("chart_push", {"queue": "one", "registries": ["*"]}) == "registries: (none)."
    assert _of("delete", tags, {"queue": "two", "tags": ["!v*"]}) is None


def test_fallback_without_events_is_named() -> None:
    """A fallback route is named if other routes match every event that it could get."""
    all_actions = [{"queue": f"queue-{n}", "actions": [a]} for n, a in enumerate(event_actions())]
    useless = 'The route "rest" gets no event: other routes match every one.'
    assert _warnings(*all_actions, FALLBACK) == [useless]
    assert _warnings({"queue": "all"}, FALLBACK) == [useless]
    pushes = {**FALLBACK, "actions": ["push"]}
    assert useless in _warnings({"queue": "one", "actions": ["push"]}, pushes)
    assert useless not in _warnings({"queue": "one", "actions": ["push"], "tags": ["*"]}, pushes)
    assert _warnings(FALLBACK) == []


@pytest.mark.parametrize(
    ("patterns", "empty"),
    [
        (["team-a/*", "!team-a/*"], True),
        (["team-a/x*", "team-a/y", "!team-*"], True),
        (["team-a/*", "!team-a/x"], False),
        (["team-a/*", "team-b", "!team-a/*"], False),
        (["a*", "!a?"], False),
        (["!*"], False),
    ],
)
def test_excluded_filter_is_named(patterns: list[str], empty: bool) -> None:
    """A route is named if a filter excludes all that it lists."""
    found = _warnings({"queue": "one", "repositories": patterns}, {"queue": "all"})
    excluded = 'The route "one" gets no event: repositories excludes all that it lists.'
    assert (excluded in found) is empty
