"""The command `trace`: the story of one delivery."""

import json
from typing import Any

from tests.support.commands import Command, Ended
from tests.support.deliveries import recent, reject
from tests.support.registry import EVENTS, KEY, Reconcile, Registry
from tests.support.storage import StorageAccount


async def _trace(registry: Registry, *arguments: str, **settings: str) -> Ended:
    own = {**registry.settings, **settings}
    ended = await Command("trace", *arguments, settings=own).ended()
    assert KEY not in ended.output + ended.errors
    assert "app.example" not in ended.output
    return ended


async def test_trace_tells_whole_story(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """`trace` finds a delivery in the delivery log, on queues, and in the ledger."""
    wanted = recent()
    registry[EVENTS].entries = [registry.entry(wanted, "504"), registry.entry(recent())]
    await reject(storage.connection, wanted)
    assert (await reconcile()).status == 0
    ended = await _trace(registry, wanted["id"], "--json")
    assert ended.status == 0, ended.errors
    document: dict[str, Any] = json.loads(ended.output)
    steps = {step["source"]: step["what"] for step in document["steps"]}
    assert "timed out (504)" in steps["delivery log of myregistry/events"]
    assert "ImagePushed" in steps["queue acr-push"]
    assert "registry-not-allowed" in steps["queue acr-rejected"]
    assert steps["ledger"] == "accepted, to acr-push"
    assert len(document["steps"]) == 4
    table = await _trace(registry, wanted["id"])
    assert "ledger" in table.output
    assert f'message has "{wanted["id"]}"' in table.errors


async def test_trace_fails_without_answers(registry: Registry, storage: StorageAccount) -> None:
    """`trace` fails where nothing is known, or where a source does not respond."""
    wanted = recent()
    registry[EVENTS].entries = [registry.entry(wanted)]
    unknown = await _trace(registry, "no-such-id")
    assert unknown.status == 1
    assert "Nothing is known of it." in unknown.output
    assert (await _trace(registry, wanted["id"])).status == 0
    unread = await _trace(registry, wanted["id"], IDENTITY_ENDPOINT="http://127.0.0.1:9/")
    assert unread.status == 1
    assert "could not get an access token" in unread.errors
    assert "was not asked" in (await _trace(registry, wanted["id"], ACR_WEBHOOKS="")).errors
