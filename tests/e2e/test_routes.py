"""Routes, over HTTP: tests/routes/table.json says which event goes to which queues."""

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
    delivery = examples.anew(examples.documented(row["action"], row["registry"]))
    delivery["target"] |= row["target"]
    return delivery


async def _post(
    http: aiohttp.ClientSession, url: str, row: dict[str, Any]
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """The status and the answer, and what was sent."""
    delivery = _delivery(row)
    query = {"registry": row["registry"]} if row["registry"] else {}
    async with http.post(url, json=delivery, params=query) as response:
        return response.status, await response.json(), delivery


async def test_every_event_of_the_table_lies_on_its_queues_once_and_nowhere_else(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    url = serve(ROUTES)
    names = [route["queue"] for route in TABLE["routes"]]
    assert len(names) * len(TABLE["events"]) >= 40
    for row in TABLE["events"]:
        status, answer, delivery = await _post(http, url, row)
        assert (row["about"], status, answer["queues"]) == (row["about"], 202, row["queues"])
        there = await storage.queues()
        found = {
            name: [event["id"] for event in await storage.documents(name)]
            for name in dict.fromkeys(names)
            if name in there
        }
        assert {name for name, ids in found.items() if ids} == set(row["queues"]), row["about"]
        assert all(ids in ([], [delivery["id"]]) for ids in found.values())


async def test_each_route_of_the_table_takes_some_event_and_turns_another_away() -> None:
    for route in TABLE["routes"][1:]:
        taken = [route["queue"] in row["queues"] for row in TABLE["events"]]
        assert set(taken) == {True, False}, route


async def test_an_event_that_no_route_takes_is_202_without_queues_or_kept_where_that_is_set(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    routes = {"routes": [{"queue": "others", "repositories": ["!base"]}], "rejectedQueue": "kept"}
    [base] = [row for row in TABLE["events"] if row["target"]["repository"] == "base"]
    status, answer, _ = await _post(http, serve(routes), base)
    assert (status, answer["queues"]) == (202, [])
    assert await storage.queues() == []
    status, answer, delivery = await _post(http, serve(routes, ACR_KEEP_UNROUTED="true"), base)
    assert status == 422
    assert answer["detail"] == (
        f'No route in routes.json takes this push of "base@{delivery["target"]["digest"]}".'
    )
    [record] = await storage.documents("kept")
    assert (record["reason"], record["status"]) == ("unrouted", 422)
    assert json.loads(record["body"]["content"]) == delivery
    assert await storage.queues() == ["kept"]


async def test_a_queue_is_named_by_an_app_setting(
    serve: Serve, http: aiohttp.ClientSession, storage: StorageAccount
) -> None:
    routes = {"routes": [{"queue": "%InventoryQueue%"}], "rejectedQueue": "kept"}
    row = TABLE["events"][0]
    _, answer, _ = await _post(http, serve(routes, InventoryQueue="inventory"), row)
    assert answer["queues"] == await storage.queues() == ["inventory"]
