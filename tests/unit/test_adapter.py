"""The adapter between HTTP and the pipeline, on every Python that Azure runs."""

import importlib
import json
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace

import azure.functions as func
import pytest

from shared.app import app
from shared.core.delivery import Delivery
from shared.core.responses import Response
from tests.support.deliveries import example

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the function, loaded with its own settings."""
    monkeypatch.setenv("AcrEventsStorage", "UseDevelopmentStorage=true")
    app.cache_clear()
    sys.modules.pop("AcrWebhook", None)
    return importlib.import_module("AcrWebhook")


async def _post(
    webhook: ModuleType, body: bytes, headers: dict[str, str], params: dict[str, str]
) -> func.HttpResponse:
    request = func.HttpRequest("POST", "/api/AcrWebhook", headers=headers, params=params, body=body)
    response = await webhook.main(request, SimpleNamespace(invocation_id="inv-1"))
    assert isinstance(response, func.HttpResponse)
    return response


async def test_adapter_translates_request_and_response(
    webhook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter passes a request to the pipeline as a delivery, and returns its response."""
    received = []

    async def receive(delivery: Delivery) -> Response:
        received.append(delivery)
        return Response(499, b"{}", "application/problem+json", {"Retry-After": "7"})

    monkeypatch.setattr(webhook.PIPELINE, "process", receive)
    response = await _post(
        webhook,
        b"\x00\xff",
        {"TraceParent": TRACE},
        {"registry": "a.azurecr.io", "region": "EastUS"},
    )
    [delivery] = received
    assert delivery.body == b"\x00\xff"
    assert delivery.registry == "a.azurecr.io"
    assert delivery.region == "EastUS"
    assert delivery.traceparent == TRACE
    assert delivery.invocation_id == "inv-1"
    assert datetime.now(UTC) - delivery.received_at < timedelta(minutes=1)
    assert response.status_code == 499
    assert response.get_body() == b"{}"
    assert response.mimetype == "application/problem+json"
    assert response.headers["Retry-After"] == "7"


async def test_request_needs_no_parameter_or_trace(
    webhook: ModuleType,
) -> None:
    """The adapter accepts a request without a registry parameter and a trace."""
    response = await _post(webhook, json.dumps(example("ping")).encode(), {}, {})
    assert response.status_code == 200
    assert response.mimetype == "application/json"
