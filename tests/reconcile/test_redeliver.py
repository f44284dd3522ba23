"""The command `redeliver`: deliveries of the delivery log come back, whatever their response."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.commands import Command, Ended
from tests.support.deliveries import recent
from tests.support.registry import EVENTS, KEY, Reconcile, Registry, refusal
from tests.support.storage import StorageAccount


async def _redeliver(registry: Registry, *arguments: str, **settings: str) -> Ended:
    own = {**registry.settings, **settings}
    ended = await Command("redeliver", *arguments, settings=own).ended()
    assert KEY not in ended.output + ended.errors
    return ended


def _lines(ended: Ended) -> list[dict[str, object]]:
    return [json.loads(line) for line in ended.output.splitlines()]


async def test_deleted_queue_comes_back(registry: Registry, storage: StorageAccount) -> None:
    """`redeliver` brings back the confirmed events of a deleted queue, and no others."""
    before, lost, other = recent(age=timedelta(hours=5)), recent(), recent("delete")
    registry[EVENTS].entries = [
        registry.entry(each, "202") for each in (before, lost, other, recent("ping"))
    ]
    since = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    arguments = ["--since", since, "--queue", "acr-push", "--json"]
    dry = await _redeliver(registry, *arguments, "--dry-run")
    assert dry.status == 0, dry.errors
    assert await storage.queues() == []
    ended = await _redeliver(registry, *arguments)
    assert ended.status == 0, ended.errors
    assert {line["id"]: line["result"] for line in _lines(ended)} == {
        lost["id"]: "redelivered",
        other["id"]: "not for this queue",
    }
    assert await storage.queues() == ["acr-push"]
    [event] = await storage.documents("acr-push")
    assert event["id"] == lost["id"]
    assert "acrrecovered" in event


@pytest.mark.parametrize("status", ["202", "503", "422", None])
async def test_any_response_can_be_redelivered(
    status: str | None, registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A delivery is redelivered whatever its response was, and the next run leaves it alone."""
    wanted = recent()
    response = refusal("registry-not-allowed", 422) if status == "422" else ""
    registry[EVENTS].entries = [registry.entry(wanted, status, response)]
    ended = await _redeliver(registry, "--id", wanted["id"])
    assert ended.status == 0, ended.errors
    assert (await reconcile()).status == 0
    assert await storage.ids("acr-push") == [wanted["id"]]


async def test_partial_redelivery_is_reconciled(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """A missed delivery that was redelivered to one of its queues is still reconciled to all."""
    wanted = recent()
    registry[EVENTS].entries = [registry.entry(wanted)]
    patch = (
        "import shared.core.routing as routing\n"
        "routing.Routes.queues_for = lambda self, event: ['acr-push', 'acr-other']\n"
    )
    settings = registry.settings
    command = Command(
        "redeliver", "--id", wanted["id"], "--queue", "acr-push", settings=settings, patch=patch
    )
    assert (await command.ended()).status == 0
    assert await storage.queues() == ["acr-push"]
    assert (await reconcile(patch=patch)).counts == {"recovered": 1}
    assert await storage.ids("acr-other") == [wanted["id"]]


async def test_failed_redelivery_says_why(registry: Registry, storage: StorageAccount) -> None:
    """`redeliver` fails for an unlisted id, a refusal, and a delivery log that it cannot read."""
    refused = recent()
    registry[EVENTS].entries = [registry.entry(refused)]
    absent = await _redeliver(registry, "--id", "no-such-id")
    assert absent.status == 1
    assert "lists 'no-such-id'" in absent.errors
    other = {"ACR_REGISTRIES": "other.azurecr.io"}
    again = await _redeliver(registry, "--id", refused["id"], "--json", **other)
    assert again.status == 1
    assert _lines(again)[0]["result"] == "refused now"
    unreadable = {"IDENTITY_ENDPOINT": "http://127.0.0.1:9/"}
    unread = await _redeliver(registry, "--id", refused["id"], **unreadable)
    assert unread.status == 1
    assert "could not get an access token" in unread.errors
    assert (await _redeliver(registry)).status == 1
    assert await storage.queues() == []


async def test_redelivery_waits_for_lease(registry: Registry, storage: StorageAccount) -> None:
    """`redeliver` sends nothing while another run holds the webhook's lease."""
    wanted = recent()
    registry[EVENTS].entries = [registry.entry(wanted)]
    patch = (
        "from shared.reconcile.lease import Lease, LeaseHeldError\n"
        "async def held(self): raise LeaseHeldError\n"
        "Lease.acquire_or_renew = held\n"
    )
    command = Command("redeliver", "--id", wanted["id"], settings=registry.settings, patch=patch)
    ended = await command.ended()
    assert ended.status == 1
    assert "Another run holds this webhook's lease." in ended.errors
    assert await storage.queues() == []


async def test_reconcile_needs_login(registry: Registry, storage: StorageAccount) -> None:
    """Without a login, `reconcile` fails, says so, and does not call the log empty."""
    registry[EVENTS].entries = [registry.entry(recent())]
    settings = {**registry.settings, "AcrManagement__credential": ""}
    del settings["IDENTITY_ENDPOINT"], settings["IDENTITY_HEADER"]
    ended = await Command("reconcile", settings=settings).ended()
    assert ended.status == 1
    assert "az login" in ended.errors
    assert "not completed" in ended.output
    lines = await Command("reconcile", "--json", settings=settings).ended()
    assert lines.status == 1
    [report] = _lines(lines)
    assert "could not get an access token" in str(report["error"])
    assert report["deliveries"] == {}
