"""The commands `routes check` and `routes explain`."""

import re
from pathlib import Path

import pytest

from tests.support.commands import run_tools


def test_routes_check_names_unknown_member(tmp_path: Path) -> None:
    """`routes check` names an unknown member and exits with 1."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [{"queue": "acr-push", "action": []}], "rejectedQueue": "r-r"}')
    result = run_tools("routes", "check", "--file", str(file))
    assert result.status == 1
    assert "/routes/0/action: is not known; known are: name, queue, actions" in result.errors


def test_routes_check_lists_unmatched_actions(tmp_path: Path) -> None:
    """`routes check` lists the actions that match no route."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [{"queue": "one", "actions": ["*push"]}], "rejectedQueue": "r-r"}')
    result = run_tools("routes", "check", "--file", str(file))
    assert result.status == 0
    assert re.findall(r"No route matches the action (\w+)\.", result.output) == [
        "delete", "quarantine", "chart_delete"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["push", "team-a/web:v1"], 0, "tags: v1"),
        (["push", "team-a/web:v1"], 0, "registries: myregistry.azurecr.io"),
        (["push", f"web@sha256:{'a' * 64}"], 0, "tags: (none)"),
        (["chart_push", "charts/web:1"], 0, "registries: (none)"),
        (["chart_push", "c:1", "--registry", "Contoso.azurecr.io"], 0, "contoso.azurecr.io"),
        (["push", "web:v1", "--media-type", "a/b"], 0, "mediaTypes: a/b"),
        (["push", "web:v1"], 0, "regions: (none)"),
        (["push", "web:v1", "--region", "EastUS"], 0, "regions: eastus"),
        (["push", "w:v1", "--registry", "a.eastus.geo.azurecr.io"], 0, "registries: a.azurecr.io"),
        (["push", "w:v1", "--registry", "a.eastus.geo.azurecr.io"], 0, "regions: eastus"),
        (["push", "web:v1", "--region", "east us"], 1, '"east us" is not the name of a region'),
        (["delete", "web:v1"], 1, "A delete has no tag."),
        (["ping", "web:v1"], 1, "'ping' raises no event; these do: push"),
        (["push", "web@latest"], 1, "/target/digest is not a valid content digest"),
        (["chart_push", "c:1", "--registry", "/"], 1, '"/" is not a host name'),
        (["push", "contoso.azurecr.io/web:v1"], 1, "web:v1 --registry contoso.azurecr.io"),
        (["push", "localhost:5000/web:v1"], 1, "web:v1 --registry localhost:5000"),
        (["push", "my.team/web:v1", "--registry", "a.azurecr.io"], 0, "repositories: my.team/web"),
    ],
)
def test_routes_explain_shows_filter_values(arguments: list[str], status: int, says: str) -> None:
    """`routes explain` shows the values that filters compare, or names the invalid argument."""
    result = run_tools("routes", "explain", *arguments, ACR_REGISTRIES="")
    assert result.status == status
    assert says in result.output + result.errors


def test_routes_tools_show_regions(tmp_path: Path) -> None:
    """`routes check` shows a filter on regions, and `routes explain` its mismatch reason."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [{"queue": "one", "regions": ["west*"]}], "rejectedQueue": "r-r"}')
    result = run_tools("routes", "check", "--file", str(file))
    assert (result.status, "regions: west*" in result.output) == (0, True)
    explain = ("routes", "explain", "push", "web:v1", "--file", str(file))
    assert run_tools(*explain, "--region", "westeurope", ACR_REGISTRIES="").status == 0
    result = run_tools(*explain, "--region", "eastus", ACR_REGISTRIES="")
    assert result.status == 1
    assert 'regions: "eastus" is none of: west*' in result.output


def test_routes_explain_applies_registry_setting() -> None:
    """`routes explain` allows only the registries that the app allows."""
    only = "contoso.azurecr.io"
    result = run_tools("routes", "explain", "chart_push", "c:1", ACR_REGISTRIES=only)
    assert "registries: contoso.azurecr.io" in result.output
    other = ("push", "web:v1", "--registry", "x.azurecr.io")
    result = run_tools("routes", "explain", *other, ACR_REGISTRIES=only)
    assert result.status == 1
    assert "The app would refuse that." in result.errors


def test_routes_explain_exits_1_without_match(tmp_path: Path) -> None:
    """`routes explain` gives the mismatch reason and exits with 1 if no route matches."""
    file = tmp_path / "routes.json"
    file.write_text('{"routes": [{"queue": "one", "tags": ["v*"]}], "rejectedQueue": "r-r"}')
    result = run_tools("routes", "explain", "push", "web:latest", "--file", str(file))
    assert result.status == 1
    assert 'tags: "latest" is none of: v*' in result.output
    assert "No route matches the event." in result.output
