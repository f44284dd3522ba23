"""Routes that can never match."""

import json
from typing import Any

import pytest

from shared.core.routing import Routes


def _misconfigured(*routes: dict[str, Any], **settings: str) -> list[str]:
    written = [{"queue": "one", **route} for route in routes]
    document = {"routes": written, "rejectedQueue": "acr-rejected"}
    found = Routes.parse(json.dumps(document).encode(), settings).misconfigured
    return [str(each) for each in found]


def test_shipped_routes_pass_every_check() -> None:
    """Nothing is wrong with the shipped routes."""
    assert Routes.load({}).misconfigured == ()


@pytest.mark.parametrize(
    ("route", "name", "events"),
    [
        ({"actions": ["delete"], "tags": ["v*"]}, "tags", "delete"),
        ({"actions": ["del*", "!push"], "tags": ["v*", "!v1"]}, "tags", "delete"),
        ({"actions": ["quarantine"], "mediaTypes": ["a/*"]}, "mediaTypes", "quarantine"),
    ],
)
def test_filter_without_value_is_reported(route: dict[str, Any], name: str, events: str) -> None:
    """A filter on a value that no event of the route has is named with its place."""
    assert _misconfigured({}, route) == [
        f"routes.json, /routes/1/{name}: matches no event, as {events} events have no such value. "
        "Remove this filter, or change the actions."
    ]


@pytest.mark.parametrize(
    "route",
    [
        {"tags": ["v*"]},
        {"mediaTypes": ["a/*"]},
        {"actions": ["push", "delete"], "tags": ["v*"]},
        {"actions": ["delete"], "tags": ["!v*"]},
        {"actions": ["delete"], "mediaTypes": ["a/*"]},
        {"actions": ["quarantine"], "tags": ["v*"]},
        {"actions": ["chart_push"], "registries": ["a.azurecr.io"]},
    ],
)
def test_filter_that_can_match_passes(route: dict[str, Any]) -> None:
    """A filter that some event of the route can pass is no problem."""
    assert _misconfigured(route) == []


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("repositories", "Team-A/*"),
        ("repositories", "/team-a/*"),
        ("repositories", "team-a/"),
        ("repositories", "team-a//web"),
        ("repositories", "!team-a:web"),
        ("repositories", "-web"),
        ("tags", ".v1"),
        ("tags", "-v*"),
        ("tags", "web:v1"),
        ("tags", "team/v1"),
        ("tags", "!v@1"),
    ],
)
def test_impossible_pattern_is_reported(name: str, pattern: str) -> None:
    """A pattern that no valid repository or tag has is named with its place."""
    [reported] = _misconfigured({name: ["*", pattern]})
    assert reported.startswith(f'routes.json, /routes/0/{name}/1: "{pattern}" matches no valid ')
    assert reported.endswith("). Correct the pattern.")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("repositories", "team-a/*"),
        ("repositories", "*/web"),
        ("repositories", "?eam_a/x.y--z/9"),
        ("repositories", "!x"),
        ("repositories", "[Tt]eam/*"),
        ("tags", "V1.0_x-"),
        ("tags", "1.0.0+7"),
        ("tags", "*-rc?"),
        ("tags", "_x"),
        ("mediaTypes", "/ANY:thing/"),
    ],
)
def test_possible_pattern_passes(name: str, pattern: str) -> None:
    """A pattern that a valid value can have is no problem."""
    assert _misconfigured({name: [pattern]}) == []


@pytest.mark.parametrize("name", ["repositories", "tags", "mediaTypes", "registries"])
@pytest.mark.parametrize("pattern", ["a[bc", "!a[b]c[", "[]x", "[!]x", "x[!"])
def test_unclosed_bracket_is_reported(name: str, pattern: str) -> None:
    """A `[` that no `]` closes stands for itself, which no filter can mean."""
    assert _misconfigured({name: [pattern]}) == [
        f'routes.json, /routes/0/{name}/0: "{pattern}" has a [ without a ]. '
        "Close it, or write [[] for the character itself."
    ]


@pytest.mark.parametrize("pattern", ["a[bc]", "[]]x", "[!]]x", "[a][b]", "x]", "[[]"])
def test_closed_bracket_passes(pattern: str) -> None:
    """A set of characters that is closed is no problem."""
    assert _misconfigured({"mediaTypes": [pattern]}) == []


def test_setting_in_pattern_stays_secret() -> None:
    """The pattern of an app setting is named by the setting, not by its value."""
    [reported] = _misconfigured({"tags": ["v*", "%Team%"]}, Team="AccountKey=abc")
    assert reported.startswith('routes.json, /routes/0/tags/1: "%Team%" matches no valid tag')
    assert "abc" not in reported


def test_routes_know_their_app_settings() -> None:
    """Routes tell the names of the app settings that they refer to."""
    document = {
        "routes": [{"queue": "q-%A%", "name": "%B%", "tags": ["%C%*"]}],
        "rejectedQueue": "%D%",
    }
    settings = {"A": "a", "C": "c", "D": "kept", "E": "e"}
    routes = Routes.parse(json.dumps(document).encode(), settings)
    assert routes.app_settings == {"A", "C", "D"}


@pytest.mark.parametrize("pattern", ["contoso.eastus.geo.azurecr.io", "!*.eastus.geo.azurecr.us"])
def test_regional_endpoint_as_registry_is_reported(pattern: str) -> None:
    """A pattern for registries that is a regional endpoint is named: events have none."""
    [found] = _misconfigured({"registries": [pattern]})
    assert found.startswith("routes.json, /routes/0/registries/0: ")
    assert pattern in found
    assert "matches no event, as these have the login server" in found
    assert _misconfigured({"registries": ["*.eastus.notgeo.azurecr.io", "*.azurecr.io"]}) == []
