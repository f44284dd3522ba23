"""The HTTP contract, row by row, over real HTTP."""

import json
from typing import Any

import aiohttp
import pytest

from shared.core.actions import actions
from shared.core.schemas import validator
from shared.core.violations import violations
from tests.support.apps import served
from tests.support.deliveries import example, read_back
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port

RECORD = validator("rejected.v1.json")
PROBLEM = "application/problem+json"


class Reply:
    """What came back, checked for what holds for every answer."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.type = response.headers["Content-Type"]
        assert len(body) <= 4096
        self.document: dict[str, Any] = json.loads(body)
        assert "Traceback" not in body.decode()
        assert processes.KEY not in body.decode()


async def _post(
    http: aiohttp.ClientSession,
    url: str,
    body: bytes | dict[str, Any],
    headers: dict[str, str] | None = None,
    **query: str,
) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    async with http.post(url, data=raw, headers=headers, params=query) as response:
        return Reply(response, await response.read())


async def _rejected(storage: StorageAccount) -> dict[str, Any]:
    """The one record that lies on the queue of rejected deliveries; nothing lies elsewhere."""
    assert await storage.queues() == ["acr-rejected"]
    [record] = await storage.documents("acr-rejected")
    assert violations(RECORD, record) == []
    return dict(record)


async def test_every_example_is_accepted_and_lies_on_its_queue(
    http: aiohttp.ClientSession,
    function_url: str,
    storage: StorageAccount,
    any_example: dict[str, Any],
) -> None:
    action = actions()[any_example["action"]]
    reply = await _post(http, function_url, any_example)
    assert reply.type == "application/json"
    if action.type is None:
        assert reply.status == 200
        assert reply.document["id"] == any_example["id"]
        assert await storage.queues() == []
        return
    assert reply.status == 202
    assert set(reply.document) == {"id", "type", "source", "subject", "queues"}
    queue = f"acr-{action.name.replace('_', '-')}"
    assert reply.document["queues"] == await storage.queues() == [queue]
    [event] = await storage.documents(queue)
    read_back(event)
    assert event["data"] == any_example
    assert (event["id"], event["type"]) == (any_example["id"], action.type)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\x00\xfe", id="not UTF-8"),
        pytest.param(b'{"id": NaN}', id="NaN"),
        pytest.param(b"[" * 30_000, id="nested deep"),
        pytest.param(b'{"id": ' + b"1" * 5000 + b"}", id="5,000 digits"),
        pytest.param(b'{"id": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'["push"]', id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"\\u0000"', id="string"),
    ],
)
async def test_what_is_no_json_object_is_400_and_kept(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount, body: bytes
) -> None:
    reply = await _post(http, function_url, body)
    assert (reply.status, reply.type) == (400, PROBLEM)
    record = await _rejected(storage)
    assert (record["reason"], record["status"]) == ("not-json", 400)
    assert record["errors"] == reply.document["errors"]
    assert record["body"]["length"] == len(body)


async def test_a_million_levels_are_413_and_kept(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    reply = await _post(http, function_url, b"[" * 1_000_000)
    assert reply.status == 413
    record = await _rejected(storage)
    assert record["body"]["truncated"] is True
    assert record["body"]["length"] == 1_000_000


@pytest.mark.parametrize(("size", "status"), [(32 * 1024, 202), (32 * 1024 + 1, 413)])
async def test_a_body_over_32_kib_is_413_and_kept_whole(
    http: aiohttp.ClientSession,
    function_url: str,
    storage: StorageAccount,
    size: int,
    status: int,
) -> None:
    body = json.dumps(example("push")).encode().ljust(size)
    reply = await _post(http, function_url, body)
    assert reply.status == status
    if status == 413:
        assert reply.type == PROBLEM
        record = await _rejected(storage)
        assert record["body"]["content"].encode() == body


async def test_an_unknown_action_is_422_and_says_which_are_known(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    reply = await _post(http, function_url, example("push", action="pull"))
    assert (reply.status, reply.type) == (422, PROBLEM)
    [error] = reply.document["errors"]
    assert error["pointer"] == "/action"
    assert all(action in error["detail"] for action in actions())
    assert (await _rejected(storage))["reason"] == "unknown-action"


async def test_violations_are_422_each_with_its_pointer(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    delivery = example("push", target__digest="latest", timestamp="today", request=...)
    reply = await _post(http, function_url, delivery)
    assert (reply.status, reply.type) == (422, PROBLEM)
    pointers = [error["pointer"] for error in reply.document["errors"]]
    assert pointers == ["/request", "/target/digest", "/timestamp"]
    record = await _rejected(storage)
    assert record["errors"] == reply.document["errors"]
    assert json.loads(record["body"]["content"]) == delivery


async def test_a_registry_parameter_that_contradicts_the_delivery_is_422_and_kept(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    reply = await _post(http, function_url, example("push"), registry="other.azurecr.io")
    assert reply.status == 422
    assert (await _rejected(storage))["registry"] == "other.azurecr.io"


async def test_a_chart_event_gets_its_registry_from_the_url(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    reply = await _post(http, function_url, example("chart_push"), registry="Contoso.azurecr.io")
    assert reply.document["source"] == "https://contoso.azurecr.io"
    [event] = await storage.documents("acr-chart-push")
    assert event["acrregistry"] == "contoso.azurecr.io"


async def test_a_byte_order_mark_is_tolerated_and_content_type_decides_nothing(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(example("push")).encode()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
        reply = await _post(http, function_url, body, {"Content-Type": content_type})
        assert reply.status == 202
    assert len(await storage.documents("acr-push")) == 3


async def test_the_trace_of_the_request_goes_on_in_the_event(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await _post(http, function_url, example("push"), {"traceparent": trace})
    [event] = await storage.documents("acr-push")
    assert event["traceparent"] == trace


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_post_is_the_only_method(
    http: aiohttp.ClientSession, function_url: str, method: str
) -> None:
    async with http.request(method, function_url) as response:
        assert response.status == 404


async def test_a_registry_that_is_not_allowed_is_403_and_kept(
    http: aiohttp.ClientSession, azurite: str, storage: StorageAccount
) -> None:
    settings = {"AcrEventsStorage": azurite, "ACR_REGISTRIES": "contoso.azurecr.io"}
    with served(settings) as url:
        reply = await _post(http, url, example("push"))
        assert (reply.status, reply.type) == (403, PROBLEM)
        assert (await _rejected(storage))["reason"] == "registry-not-allowed"
        # A chart event, which does not say, can only come from there.
        reply = await _post(http, url, example("chart_push"))
        assert reply.document["source"] == "https://contoso.azurecr.io"


async def test_storage_that_is_not_there_is_503_with_retry_after(
    http: aiohttp.ClientSession,
) -> None:
    nobody = processes.connection_string(free_port())
    settings = {"AcrEventsStorage": nobody, "ACR_REGISTRIES": "", "ACR_BUDGET_SECONDS": "1"}
    with served(settings) as url:
        for body in (example("push"), example("push", action="pull")):
            reply = await _post(http, url, body)
            assert (reply.status, reply.type) == (503, PROBLEM)
            assert int(reply.headers["Retry-After"]) > 0
        assert (await _post(http, url, example("ping"))).status == 200
