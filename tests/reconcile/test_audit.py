"""The command `audit`: every delivery of the delivery log is accounted for."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared import log
from shared.core.delivery import Delivery
from tests.support.commands import Command, Ended
from tests.support.deliveries import recent
from tests.support.registry import EVENTS, KEY, Reconcile, Registry, refusal
from tests.support.storage import StorageAccount


async def _audit(registry: Registry, *arguments: str, **settings: str) -> Ended:
    own = {**registry.settings, **settings}
    ended = await Command("audit", *arguments, settings=own).ended()
    assert KEY not in ended.output + ended.errors
    return ended


def _results(ended: Ended) -> dict[str, int]:
    return Counter(json.loads(line)["result"] for line in ended.output.splitlines())


async def test_audit_accounts_for_every_delivery(
    registry: Registry,
    reconcile: Reconcile,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """`audit` calls each delivery one thing, its totals add up, and it fails while one is open."""
    entries = registry[EVENTS].entries
    entries.append(registry.entry(recent()))
    assert (await reconcile()).counts == {"recovered": 1}
    lost, missed = recent(), recent()
    rejection = refusal("registry-not-allowed", 403)
    entries += [
        registry.entry(recent(), "202"),
        registry.entry(recent(), "202"),
        registry.entry(recent(), "403", rejection),
        registry.entry(lost, "503"),
        registry.entry(missed, None),
        registry.entry(recent(age=timedelta(0)), None),
        registry.entry(recent("ping"), "200"),
        registry.entry(recent(age=timedelta(days=3)), None),
    ]
    log.lost(Delivery(json.dumps(lost).encode(), None, None, datetime.now(UTC)), log.Loss("x", "y"))
    file = tmp_path / "log.txt"
    file.write_text("\n".join(caplog.messages))
    since = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%S")
    arguments = ["--since", since, "--fallback-log", str(file)]
    ended = await _audit(registry, *arguments, "--json")
    assert ended.status == 1
    expected = {
        "confirmed": 2,
        "dead-lettered": 1,
        "recovered": 1,
        "in the fallback log": 1,
        "missed": 1,
        "unknown": 1,
    }
    assert _results(ended) == expected
    table = await _audit(registry, *arguments)
    assert "Not counted: 1 pings, 1 outside the period." in table.output
    rows = [[part.strip() for part in line.split("│")] for line in table.output.splitlines()]
    found = {row[1]: int(row[2]) for row in rows if len(row) == 4 and row[2].isdigit()}
    assert found == {**expected, "total": 7}
    del entries[5:]
    assert (await _audit(registry, *arguments)).status == 0


async def test_unreadable_log_fails_audit(registry: Registry, storage: StorageAccount) -> None:
    """An audit that cannot read the delivery log fails and says so."""
    ended = await _audit(registry, IDENTITY_ENDPOINT="http://127.0.0.1:9/")
    assert ended.status == 1
    assert "could not get an access token" in ended.errors


async def test_expected_events_are_looked_for(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount
) -> None:
    """With `--expect-queued`, a confirmed event that is on no queue is missing."""
    there = recent()
    registry[EVENTS].entries = [registry.entry(there)]
    assert (await reconcile()).status == 0
    registry[EVENTS].entries[0] = registry.entry(there, "202")
    unasked = await _audit(registry, "--expect-queued")
    assert unasked.status == 1
    assert "use --yes" in unasked.errors
    whole = await _audit(registry, "--expect-queued", "--yes", "--json")
    assert (whole.status, _results(whole)) == (0, {"confirmed": 1}), whole.errors
    # The messages are visible again.
    client = storage.service.get_queue_client("acr-push")
    assert len(await client.peek_messages(max_messages=32)) == 1
    registry[EVENTS].entries.append(registry.entry(recent(), "202"))
    assert _results(await _audit(registry, "--json")) == {"confirmed": 2}
    lacking = await _audit(registry, "--expect-queued", "--yes", "--json")
    assert lacking.status == 1
    assert _results(lacking) == {"confirmed": 1, "missing": 1}
    await storage.service.delete_queue("acr-push")
    deleted = await _audit(registry, "--expect-queued", "--yes", "--json")
    assert deleted.status == 1
    assert _results(deleted) == {"missing": 2}
    assert "There is no queue acr-push." in deleted.errors
