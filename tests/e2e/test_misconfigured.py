"""An app whose configuration cannot work: health reports it, and no delivery is lost."""

import json
import shutil
from base64 import b64decode
from pathlib import Path

import aiohttp

from tests.support.apps import Serve
from tests.support.commands import run_tools
from tests.support.deliveries import example
from tests.support.storage import StorageAccount

ROUTES = {
    "routes": [
        {"queue": "acr-push", "actions": ["push"]},
        {"queue": "acr-delete", "actions": ["delete"], "tags": ["v*"]},
        {"queue": "acr-quarantine", "actions": ["quarantine"], "mediaTypes": ["a/*"]},
        {"queue": "acr-team", "repositories": ["Team-A/*"], "tags": ["v[0-9"]},
    ],
    "rejectedQueue": "acr-rejected",
}
SETTINGS = {
    "ACR_REGISTRIES": "contoso, https://user:c2VjcmV0@fabrikam.azurecr.io",
    "ACR_BUDGET_SECONDS": "30",
    "ACR_MAX_BODY_BYTES": "32k",
    "ACR_KEEP_UNROUTED": "yes",
    "ACR_REGISTRYS": "c2VjcmV0",
    "ACR_RECOVERED_DAYS": "0",
}
PROBLEMS = [
    "ACR_REGISTRIES, entry 1: is not a login server",
    "ACR_REGISTRIES, entry 2: is not a login server",
    "ACR_MAX_BODY_BYTES: must be a number from 1024 to 49152",
    "ACR_BUDGET_SECONDS: must be a number from 0.5 to 4.5",
    "ACR_KEEP_UNROUTED: must be true or false",
    "AcrReconcile: has a setting that cannot be used",
    "ACR_REGISTRYS: is not a setting of this app",
    "routes.json, /routes/1/tags: matches no event, as delete events have no such value",
    "routes.json, /routes/2/mediaTypes: matches no event, as quarantine events have no such value",
    "routes.json, /routes/3/repositories/0: matches no valid repository (lower-case letters, "
    "digits and single inner separators)",
    "routes.json, /routes/3/tags/0: has a [ without a ]",
]


async def test_health_reports_each_misconfiguration(
    app: Path, serve: Serve, http: aiohttp.ClientSession
) -> None:
    """Health responds 503 with every setting and route that cannot work, and with no value."""
    shutil.rmtree(app / "AcrReconcile")  # it does not load, which stops the host
    url = serve(ROUTES, **SETTINGS).replace("AcrWebhook", "health")
    async with http.get(url) as response:
        assert response.status == 503
        text = await response.text()
    document = json.loads(text)
    assert document["problems"] == PROBLEMS
    checks = document["checks"]
    assert {name for name, state in checks.items() if state == "failed"} == {"settings", "routes"}
    assert "contoso" not in text
    assert "c2VjcmV0" not in text


async def test_invalid_list_loses_no_delivery(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    """With no valid registry on the list, deliveries get 403, and replay brings them back."""
    url = serve({**ROUTES, "routes": ROUTES["routes"][:1]}, ACR_REGISTRIES="myregistry")
    push, chart = example("push"), example("chart_push")
    for body in (push, chart):
        async with http.post(url, json=body) as response:
            assert response.status == 403
            detail = (await response.json())["detail"]
        assert "ACR_REGISTRIES has invalid entries (1)." in detail
    rejected = storage.service.get_queue_client("acr-rejected")
    assert len(await rejected.peek_messages(max_messages=32)) == 2
    settings = {"AcrEventsStorage": storage.connection, "ACR_BUDGET_SECONDS": "30"}
    result = run_tools("replay", ACR_REGISTRIES=push["request"]["host"], **settings)
    assert result.status == 0, result.output + result.errors
    assert await storage.ids("acr-push") == [push["id"]]
    assert await storage.ids("acr-chart-push") == [chart["id"]]
    assert await rejected.peek_messages(max_messages=32) == []


async def test_invalid_routes_lose_no_event(
    app: Path, serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    """With invalid routes, events go to the dead-letter queue, and replay brings them back."""
    url = serve({"routes": [{"queue": "Bad"}], "rejectedQueue": "acr-odd"})
    push = example("push")
    async with http.post(url, json=push) as response:
        assert response.status == 422
        assert (await response.json())["type"].endswith("unrouted")
    async with http.get(url.replace("AcrWebhook", "health")) as response:
        document = await response.json()
    assert (response.status, document["checks"]["routes"]) == (503, "failed")
    assert document["problems"] == [
        "routes.json: cannot be used: the app keeps every event on the dead-letter queue"
    ]
    [kept] = await storage.service.get_queue_client("acr-odd").peek_messages(max_messages=32)
    assert json.loads(b64decode(kept.content))["reason"] == "unrouted"


def test_routes_check_reports_misconfiguration(tmp_path: Path) -> None:
    """`routes check` exits with 1 and a line for each route and setting that cannot work."""
    file = tmp_path / "routes.json"
    file.write_text(json.dumps(ROUTES))
    result = run_tools("routes", "check", "--file", str(file), **SETTINGS)
    assert result.status == 1
    for problem in PROBLEMS:
        place, _, rule = problem.partition(": ")
        [line] = [x for x in result.errors.splitlines() if x.startswith(f"  {place}: ")]
        assert f"{rule}. " in line
    assert '"contoso" is not a login server. Did you mean contoso.azurecr.io?' in result.errors
    assert "c2VjcmV0" not in result.errors
