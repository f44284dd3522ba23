"""The commands `routes check` and `routes explain`."""

import json
import re
from pathlib import Path

import pytest
from aiohttp import web

from shared.core.actions import event_actions
from shared.core.routing import digest_of
from tests.support.commands import run_tools, run_tools_async
from tests.support.routes import SHIPPED_ROUTES
from tests.support.servers import Listen
from tools import examples


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
        action for action in event_actions() if not action.endswith("push")
    ]
    assert 'Warning: A route with "fallback": true would get these events.' in result.output


def test_routes_check_shows_fallback(tmp_path: Path) -> None:
    """`routes check` shows a fallback route, and has no warning if nothing is left."""
    file = tmp_path / "routes.json"
    routes = [{"queue": "one", "tags": ["v*"]}, {"queue": "rest", "fallback": True}]
    file.write_text(json.dumps({"routes": routes, "rejectedQueue": "r-r"}))
    result = run_tools("routes", "check", "--file", str(file))
    assert result.status == 0
    assert "fallback: events that no other route matches" in result.output
    assert "Warning" not in result.output


def test_routes_check_compares_with_app(function_url: str, tmp_path: Path) -> None:
    """`routes check --url` exits with 1 if the app has loaded other routes than the file has."""
    same = run_tools("routes", "check", "--url", function_url)
    assert same.status == 0, same.errors
    digest = digest_of(SHIPPED_ROUTES)
    assert f"The app has loaded these routes ({digest})." in same.output
    file = tmp_path / "routes.json"
    file.write_bytes(SHIPPED_ROUTES.read_bytes() + b"\n")
    other = run_tools("routes", "check", "--url", function_url, "--file", str(file))
    assert other.status == 1
    assert (
        f"has loaded other routes ({digest}) than the file has ({digest_of(file)})" in other.errors
    )


async def test_routes_check_reads_failed_health(listen: Listen) -> None:
    """`routes check --url` reads the routes of an app whose health fails, and says what is odd."""
    answers = {"/api/health": (503, json.dumps({"routesDigest": digest_of(SHIPPED_ROUTES)}))}

    async def respond(request: web.Request) -> web.Response:
        status, text = answers[request.path]
        return web.Response(status=status, text=text)

    url = f"http://127.0.0.1:{await listen(respond)}/api/AcrWebhook?registry=a.azurecr.io"
    command = ("routes", "check", "--url", url)
    assert (await run_tools_async(*command)).status == 0
    for status, text in ((200, '{"status": "ok"}'), (404, "")):
        answers["/api/health"] = (status, text)
        result = await run_tools_async(*command)
        assert (result.status, "/api/health names no routes" in result.errors) == (1, True)
    answers["/api/health"] = (200, "<html>")
    result = await run_tools_async(*command)
    assert (result.status, "/api/health cannot be read" in result.errors) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["push", "team-a/web:v1"], 0, "tags: v1"),
        (["push", "team-a/web:v1"], 0, "registries: myregistry.azurecr.io"),
        (["push", f"web@sha256:{'a' * 64}"], 0, "tags: (none)"),
        (["push", "team-a/web:v1"], 0, "registries: myregistry.azurecr.io (assumed)"),
        (["push", "team-a/web:v1"], 0, "manifest.v2+json (assumed)"),
        (["push", "team-a/web:v1", "--registry", "a.azurecr.io"], 0, "registries: a.azurecr.io\n"),
        (["chart_push", "charts/web:1"], 0, "registries: (none)"),
        (["chart_push", "charts/web:1"], 0, "repositories: charts\n"),
        (["chart_push", "web:1.2.tgz"], 0, "repositories: repo (assumed)"),
        (["chart_push", "web:1.2.tgz"], 0, "tags: web-1.2.tgz (assumed)"),
        (["chart_push", "web:1.2.tgz"], 0, "It enqueues to: acr-chart-push"),
        (["push"], 0, "repositories: hello-world\n"),
        (["push/by-digest"], 0, "tags: (none)\n"),
        (["push/by-digest"], 0, "It enqueues to: acr-push"),
        (["push", "--registry", "a.azurecr.io"], 0, "registries: a.azurecr.io\n"),
        (["tests/examples/delete/documented.json"], 0, "It enqueues to: acr-delete"),
        (["ping"], 1, "The app responds 200. It enqueues nothing."),
        (["no-such.json"], 1, "no-such.json cannot be read"),
        (["push/none"], 1, "'push/none' is no JSON file and no example; the examples are: "),
        (["push", "--media-type", "a/b"], 1, "--media-type needs an action and a reference."),
        (["routes.json"], 1, "/action is required, and missing"),
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


def test_routes_explain_refuses_like_app(tmp_path: Path) -> None:
    """`routes explain` says with which status the app refuses a file, and where it keeps it."""
    file = tmp_path / "delivery.json"
    file.write_text(json.dumps({**examples.documented("push"), "more": "x" * 1024}))
    explain = ("routes", "explain", str(file))
    assert run_tools(*explain, ACR_REGISTRIES="").status == 0
    limit = run_tools(*explain, ACR_REGISTRIES="", ACR_MAX_BODY_BYTES="1024")
    assert limit.status == 1
    assert "It responds 413, and keeps the delivery on acr-rejected:" in limit.errors
    file.write_text('{"routes": [], "rejectedQueue": "kept"}')
    unrouted = ("routes", "explain", "push", "--file", str(file))
    result = run_tools(*unrouted, ACR_REGISTRIES="")
    assert (result.status, "responds 202, and stores it nowhere" in result.output) == (1, True)
    result = run_tools(*unrouted, ACR_REGISTRIES="", ACR_KEEP_UNROUTED="true")
    assert result.status == 1
    assert "It responds 422, and keeps the delivery on kept:\nNo route" in result.errors


def test_routes_explain_marks_fallback(tmp_path: Path) -> None:
    """`routes explain` says whether a fallback route gets the event."""
    file = tmp_path / "routes.json"
    routes = [{"queue": "one", "tags": ["v*"]}, {"queue": "rest", "fallback": True}]
    file.write_text(json.dumps({"routes": routes, "rejectedQueue": "r-r"}))
    explain = ("routes", "explain", "--file", str(file), "push")
    taken = run_tools(*explain, "web:v1", ACR_REGISTRIES="")
    assert "fallback: another route matches" in taken.output
    assert "It enqueues to: one" in taken.output
    left = run_tools(*explain, "web:latest", ACR_REGISTRIES="")
    assert "It enqueues to: rest" in left.output


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
