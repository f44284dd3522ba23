"""Routes over HTTP, with the events and queues of tests/routes/table.json."""

import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.apps import Serve
from tests.support.storage import StorageAccount
from tools import examples

TABLE = json.loads((Path(__file__).parent.parent / "routes" / "table.json").read_bytes())
ROUTES = {name: TABLE[name] for name in ("routes", "rejectedQueue")}


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    delivery = examples.with_new_id(examples.documented(row["action"], row["registry"]))
    delivery["target"] |= row["target"]
    return delivery


async def _post(
    http: aiohttp.ClientSession, url: str, row: dict[str, Any]
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Posts the row's delivery, and returns the status, the response and the delivery."""
    delivery = _delivery(row)
    given = {name: row.get(name) for name in ("registry", "region")}
    query = {name: value for name, value in given.items() if value}
    async with http.post(url, json=delivery, params=query) as response:
        return response.status, await response.json(), delivery


async def test_table_events_reach_their_queues(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    """Every event of the table is once on each of its queues and on no other."""
    url = serve(ROUTES)
    names = [route["queue"] for route in TABLE["routes"]]
    assert len(names) * len(TABLE["events"]) >= 40
    for row in TABLE["events"]:
        status, response, delivery = await _post(http, url, row)
        assert (row["about"], status, response["queues"]) == (row["about"], 202, row["queues"])
        existing = await storage.queues()
        found = {
            name: [event["id"] for event in await storage.documents(name)]
            for name in dict.fromkeys(names)
            if name in existing
        }
        assert {name for name, ids in found.items() if ids} == set(row["queues"]), row["about"]
        assert all(ids in ([], [delivery["id"]]) for ids in found.values())


async def test_table_routes_match_some_events() -> None:
    """Each route of the table but the first matches some events and not others."""
    for route in TABLE["routes"][1:]:
        matches = [route["queue"] in row["queues"] for row in TABLE["events"]]
        assert set(matches) == {True, False}, route


async def test_unrouted_event_follows_setting(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    """An event that matches no route gets 202, or 422 and a dead letter if set."""
    routes = {"routes": [{"queue": "others", "repositories": ["!base"]}], "rejectedQueue": "kept"}
    [base] = [row for row in TABLE["events"] if row["target"]["repository"] == "base"]
    status, response, _ = await _post(http, serve(routes), base)
    assert (status, response["queues"]) == (202, [])
    assert await storage.queues() == []
    status, response, delivery = await _post(http, serve(routes, ACR_KEEP_UNROUTED="true"), base)
    assert status == 422
    assert response["detail"] == (
        f'No route in routes.json matches this push of "base@{delivery["target"]["digest"]}".'
    )
    [dead_letter] = await storage.documents("kept")
    assert (dead_letter["reason"], dead_letter["status"]) == ("unrouted", 422)
    assert json.loads(dead_letter["body"]["content"]) == delivery
    assert await storage.queues() == ["kept"]


async def test_fallback_gets_what_is_left(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    """An event that no other route matches is on the queue of the fallback route alone."""
    routes = {
        "routes": [{"queue": "rest", "fallback": True}, {"queue": "production", "tags": ["v*"]}],
        "rejectedQueue": "kept",
    }
    url = serve(routes)
    for row in TABLE["events"]:
        _, response, _ = await _post(http, url, row)
        production = (row["target"].get("tag") or "").startswith("v")
        assert response["queues"] == (["production"] if production else ["rest"]), row["about"]
    on_queues = len(await storage.ids("rest")), len(await storage.ids("production"))
    assert sum(on_queues) == len(TABLE["events"])
    assert all(on_queues)


async def test_app_setting_names_queue(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    """An app setting names the queue of a route."""
    routes = {"routes": [{"queue": "%InventoryQueue%"}], "rejectedQueue": "kept"}
    row = TABLE["events"][0]
    _, response, _ = await _post(http, serve(routes, InventoryQueue="inventory"), row)
    assert response["queues"] == await storage.queues() == ["inventory"]
