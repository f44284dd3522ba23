"""What a recovered event takes from its entry in the delivery log, and what it leaves there."""

import json
from typing import Any

import pytest

from tests.support.deliveries import TRACE, read_back, recent
from tests.support.registry import EVENTS, KEY, Reconcile, Registry
from tests.support.storage import StorageAccount

URL = "https://app.example/api/AcrWebhook?code=" + KEY + "&registry=myregistry.azurecr.io"


def _entry(registry: Registry, delivery: dict[str, Any], uri: str = URL) -> dict[str, Any]:
    """An entry that timed out, with the trace of its delivery among its headers."""
    entry = registry.entry(delivery, "504", uri=uri)
    entry["eventRequestMessage"]["headers"]["TraceParent"] = TRACE
    return entry


async def test_recovered_event_keeps_its_trace(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A recovered event has the trace of its delivery, and no other header reaches a queue."""
    refused = recent()
    refused["action"] = "pull"
    malformed = _entry(registry, recent())
    malformed["eventRequestMessage"]["content"] = "text"
    missed = recent()
    registry[EVENTS].entries = [
        _entry(registry, missed),
        _entry(registry, refused),
        malformed,
    ]
    result = await reconcile()
    assert result.counts == {"recovered": 1, "rejected now": 2}, result.output
    [event] = await storage.documents("acr-push")
    read_back(event)
    assert (event["id"], event["traceparent"]) == (missed["id"], TRACE)
    dead_letters = {each["reason"]: each for each in await storage.documents("acr-rejected")}
    assert dead_letters["unknown-action"]["traceparent"] == TRACE
    assert "traceparent" not in dead_letters["invalid-record"]
    for message in (event, *dead_letters.values()):
        assert KEY not in json.dumps(message)
        assert "x-functions-key" not in json.dumps(message)
    assert KEY not in result.output


@pytest.mark.parametrize("trace", [KEY, "", None, [TRACE], TRACE + "\n", TRACE.upper()])
async def test_trace_of_other_form_is_left(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, trace: object
) -> None:
    """A header `traceparent` of another form is not kept: it could be anything."""
    entry = registry.entry(recent())
    entry["eventRequestMessage"]["headers"]["traceparent"] = trace
    refused = registry.entry(recent() | {"action": "pull"})
    refused["eventRequestMessage"]["headers"]["traceparent"] = trace
    registry[EVENTS].entries = [entry, refused]
    assert (await reconcile()).counts == {"recovered": 1, "rejected now": 1}
    for queue in ("acr-push", "acr-rejected"):
        [document] = await storage.documents(queue)
        assert "traceparent" not in document
        assert KEY not in json.dumps(document)


@pytest.mark.parametrize(
    ("host", "query", "region"),
    [
        ("myregistry.eastus.geo.azurecr.io", "&region=WestEurope", "westeurope"),
        ("myregistry.eastus.geo.azurecr.io", "&region=", "eastus"),
        ("myregistry.azurecr.io", "&region=westeurope", "westeurope"),
        ("myregistry.azurecr.io", "", None),
    ],
)
async def test_recovered_event_keeps_its_region(
    registry: Registry,
    reconcile: Reconcile,
    storage: StorageAccount,
    host: str,
    query: str,
    region: str | None,
) -> None:
    """A recovered event has the region of the URL that was called, or else of its endpoint."""
    missed = recent()
    missed["request"]["host"] = host
    registry[EVENTS].entries = [_entry(registry, missed, URL + query)]
    result = await reconcile(ACR_REGISTRIES="myregistry.azurecr.io")
    assert result.counts == {"recovered": 1}, result.output
    [event] = await storage.documents("acr-push")
    read_back(event)
    assert event.get("acrregion") == region
    assert event["acrregistry"] == "myregistry.azurecr.io"
    assert event["data"] == missed


async def test_invalid_region_stays_in_dead_letter(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A missed delivery with an invalid region parameter becomes a dead letter that keeps it."""
    registry[EVENTS].entries = [_entry(registry, recent(), URL + "&region=West%20Europe")]
    assert (await reconcile()).counts == {"rejected now": 1}
    [dead_letter] = await storage.documents("acr-rejected")
    assert (dead_letter["reason"], dead_letter["region"]) == ("invalid-region", "West Europe")


async def test_timed_out_deliveries_are_named(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A run says how many of the missed deliveries timed out, and says so once."""
    registry[EVENTS].entries = [
        _entry(registry, recent()),
        _entry(registry, recent()),
        registry.entry(recent(), "503"),
    ]
    says = "myregistry/events: 2 of these timed out: the registry got no response within five"
    result = await reconcile("--dry-run")
    assert result.counts == {"missed": 3}
    assert says in result.output
    result = await reconcile()
    assert result.counts == {"recovered": 3}
    assert says in result.output
    assert "timed out" not in (await reconcile()).output
