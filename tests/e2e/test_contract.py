"""The HTTP contract, tested over HTTP."""

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

DEAD_LETTER_VALIDATOR = validator("rejected.v1.json")
PROBLEM = "application/problem+json"
SERVER = "myregistry.azurecr.io"


class CheckedResponse:
    """A response that meets the rules for every response."""

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
) -> CheckedResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    async with http.post(url, data=raw, headers=headers, params=query) as response:
        return CheckedResponse(response, await response.read())


async def _read_dead_letter(storage: StorageAccount) -> dict[str, Any]:
    """Returns the only dead letter and checks that no other queue exists."""
    assert await storage.queues() == ["acr-rejected"]
    [dead_letter] = await storage.documents("acr-rejected")
    assert violations(DEAD_LETTER_VALIDATOR, dead_letter) == []
    return dict(dead_letter)


async def test_example_is_enqueued_on_its_queue(
    http: aiohttp.ClientSession,
    function_url: str,
    storage: StorageAccount,
    any_example: dict[str, Any],
) -> None:
    """The app accepts every example and enqueues its event on the queue of its action."""
    action = actions()[any_example["action"]]
    response = await _post(http, function_url, any_example)
    assert response.type == "application/json"
    if action.type is None:
        assert response.status == 200
        assert response.document["id"] == any_example["id"]
        assert await storage.queues() == []
        return
    assert response.status == 202
    assert set(response.document) == {"id", "type", "source", "subject", "queues"}
    queue = f"acr-{action.name.replace('_', '-')}"
    assert response.document["queues"] == await storage.queues() == [queue]
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
async def test_body_without_object_gets_400(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount, body: bytes
) -> None:
    """A body that is not a JSON object gets 400 and becomes a dead letter."""
    response = await _post(http, function_url, body)
    assert (response.status, response.type) == (400, PROBLEM)
    dead_letter = await _read_dead_letter(storage)
    assert (dead_letter["reason"], dead_letter["status"]) == ("not-json", 400)
    assert dead_letter["errors"] == response.document["errors"]
    assert dead_letter["body"]["length"] == len(body)


async def test_million_levels_get_413(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """A body of a million levels gets 413 and becomes a truncated dead letter."""
    response = await _post(http, function_url, b"[" * 1_000_000)
    assert response.status == 413
    dead_letter = await _read_dead_letter(storage)
    assert dead_letter["body"]["truncated"] is True
    assert dead_letter["body"]["length"] == 1_000_000


@pytest.mark.parametrize(("size", "status"), [(32 * 1024, 202), (32 * 1024 + 1, 413)])
async def test_body_over_32_kib_gets_413(
    http: aiohttp.ClientSession,
    function_url: str,
    storage: StorageAccount,
    size: int,
    status: int,
) -> None:
    """A body over 32 KiB gets 413, and its dead letter contains the whole body."""
    body = json.dumps(example("push")).encode().ljust(size)
    response = await _post(http, function_url, body)
    assert response.status == status
    if status == 413:
        assert response.type == PROBLEM
        dead_letter = await _read_dead_letter(storage)
        assert dead_letter["body"]["content"].encode() == body


async def test_unknown_action_lists_known_actions(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """An unknown action gets 422, and the response lists the known actions."""
    response = await _post(http, function_url, example("push", action="pull"))
    assert (response.status, response.type) == (422, PROBLEM)
    [error] = response.document["errors"]
    assert error["pointer"] == "/action"
    assert all(action in error["detail"] for action in actions())
    assert (await _read_dead_letter(storage))["reason"] == "unknown-action"


async def test_violations_get_422_with_pointers(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """Violations get 422, and the response gives the pointer of each violation."""
    delivery = example("push", target__digest="latest", timestamp="today", request=...)
    response = await _post(http, function_url, delivery)
    assert (response.status, response.type) == (422, PROBLEM)
    pointers = [error["pointer"] for error in response.document["errors"]]
    assert pointers == ["/request", "/target/digest", "/timestamp"]
    dead_letter = await _read_dead_letter(storage)
    assert dead_letter["errors"] == response.document["errors"]
    assert json.loads(dead_letter["body"]["content"]) == delivery


async def test_contradicting_registry_parameter_gets_422(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """A registry parameter that contradicts the payload gets 422, and its dead letter names it."""
    response = await _post(http, function_url, example("push"), registry="other.azurecr.io")
    assert response.status == 422
    assert (await _read_dead_letter(storage))["registry"] == "other.azurecr.io"


async def test_chart_event_uses_registry_parameter(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """A chart event takes its registry from the registry parameter."""
    response = await _post(http, function_url, example("chart_push"), registry="Contoso.azurecr.io")
    assert response.document["source"] == "https://contoso.azurecr.io"
    [event] = await storage.documents("acr-chart-push")
    assert event["acrregistry"] == "contoso.azurecr.io"


async def test_event_has_region_of_url(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """An event has the region of the URL; without one, that of its regional endpoint."""
    delivery = example("push", request__host="myregistry.eastus.geo.azurecr.io")
    for query in ({"region": "WestEurope"}, {"region": ""}, {}):
        response = await _post(http, function_url, delivery, {}, registry=SERVER, **query)
        assert (response.status, response.document["source"]) == (202, f"https://{SERVER}")
    events = await storage.documents("acr-push")
    assert sorted(event["acrregion"] for event in events) == ["eastus", "eastus", "westeurope"]
    assert {event["acrregistry"] for event in events} == {SERVER}
    assert all(event["data"] == delivery for event in events)


async def test_invalid_region_gets_422(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """A region parameter that is not a region gets 422, and its dead letter has it."""
    response = await _post(http, function_url, example("push"), region="West Europe")
    assert (response.status, response.type) == (422, PROBLEM)
    assert '"West Europe" is not the name of a region' in response.document["detail"]
    dead_letter = await _read_dead_letter(storage)
    assert (dead_letter["reason"], dead_letter["region"]) == ("invalid-region", "West Europe")


async def test_bom_and_content_type_are_ignored(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """The app ignores a byte order mark and the content type."""
    body = b"\xef\xbb\xbf" + json.dumps(example("push")).encode()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
        response = await _post(http, function_url, body, {"Content-Type": content_type})
        assert response.status == 202
    assert len(await storage.documents("acr-push")) == 3


async def test_event_carries_request_trace(
    http: aiohttp.ClientSession, function_url: str, storage: StorageAccount
) -> None:
    """The event carries the trace of its request."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await _post(http, function_url, example("push"), {"traceparent": trace})
    [event] = await storage.documents("acr-push")
    assert event["traceparent"] == trace


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods_get_404(
    http: aiohttp.ClientSession, function_url: str, method: str
) -> None:
    """Every method but POST gets 404."""
    async with http.request(method, function_url) as response:
        assert response.status == 404


async def test_disallowed_registry_gets_403(
    http: aiohttp.ClientSession, azurite: str, storage: StorageAccount
) -> None:
    """A registry that is not allowed gets 403, and its delivery becomes a dead letter."""
    settings = {"AcrEventsStorage": azurite, "ACR_REGISTRIES": "contoso.azurecr.io"}
    with served(settings) as url:
        response = await _post(http, url, example("push"))
        assert (response.status, response.type) == (403, PROBLEM)
        assert (await _read_dead_letter(storage))["reason"] == "registry-not-allowed"
        # A chart event names no registry, so the app takes the only allowed one.
        response = await _post(http, url, example("chart_push"))
        assert response.document["source"] == "https://contoso.azurecr.io"


async def test_unreachable_storage_gets_503(http: aiohttp.ClientSession) -> None:
    """Unreachable Storage results in 503 with Retry-After, except for a ping."""
    unreachable = processes.connection_string(free_port())
    settings = {"AcrEventsStorage": unreachable, "ACR_REGISTRIES": "", "ACR_BUDGET_SECONDS": "1"}
    with served(settings) as url:
        for body in (example("push"), example("push", action="pull")):
            response = await _post(http, url, body)
            assert (response.status, response.type) == (503, PROBLEM)
            assert int(response.headers["Retry-After"]) > 0
        assert (await _post(http, url, example("ping"))).status == 200
