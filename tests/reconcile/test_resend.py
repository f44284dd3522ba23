"""The command `resend`: the fallback log's deliveries come back to the queues that lack them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared import log
from shared.core.delivery import Delivery
from tests.support.commands import Command, Ended
from tests.support.deliveries import recent
from tests.support.registry import EVENTS, Reconcile, Registry
from tests.support.storage import StorageAccount
from tools.recovery import fallback_log


def _lose(body: dict[str, Any], queues: list[str] | None = None, region: str | None = None) -> None:
    raw = json.dumps(body).encode()
    delivery = Delivery(raw, None, None, datetime.now(UTC), region=region)
    log.lost(delivery, log.Loss("storage-unavailable", "acr-push: no", queues))


async def _resend(registry: Registry, file: Path, *arguments: str, **settings: str) -> Ended:
    own = {**registry.settings, **settings}
    return await Command("resend", str(file), *arguments, settings=own).ended()


def _lines(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.output.splitlines()]


async def test_raw_lines_are_resent_once(
    registry: Registry, storage: StorageAccount, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Raw log lines come back to the queues that they name, each once, with parts joined."""
    small, large = recent(), {**recent(), "future": "€" * 5_000}
    _lose(small, ["acr-other"])
    _lose(large)
    lines = [message for message in caplog.messages if message.startswith("acr_lost")]
    assert len(lines) > 2
    file = tmp_path / "log.txt"
    file.write_text("\n".join(f"2026-11-20 ERROR {line}" for line in [*lines[::-1], *lines, "x"]))
    dry = await _resend(registry, file, "--dry-run", "--json")
    assert [line["result"] for line in _lines(dry)] == ["would be resent"] * 2
    assert await storage.queues() == []
    ended = await _resend(registry, file, "--json")
    assert ended.status == 0, ended.errors
    assert {line["id"]: line["queues"] for line in _lines(ended)} == {
        small["id"]: ["acr-other"],
        large["id"]: ["acr-push"],
    }
    again = await _resend(registry, file, "--json")
    assert [line["result"] for line in _lines(again)] == ["already recovered"] * 2
    assert await storage.ids("acr-other") == [small["id"]]
    [event] = await storage.documents("acr-push")
    assert event["data"]["future"] == large["future"]


async def test_query_result_is_resent(
    registry: Registry, storage: StorageAccount, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The JSON of a query in Application Insights is as good as the lines themselves."""
    wanted = recent()
    _lose(wanted, ["acr-push"])
    columns = [{"name": "timestamp", "type": "datetime"}, {"name": "message", "type": "string"}]
    rows = [["2026-11-20T00:00:00Z", message] for message in caplog.messages]
    document = {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]}
    file = tmp_path / "query.json"
    file.write_text(json.dumps(document))
    ended = await _resend(registry, file, ACR_WEBHOOKS="")
    assert ended.status == 0, ended.errors
    assert await storage.ids("acr-push") == [wanted["id"]]


async def test_resend_and_reconcile_send_once(
    registry: Registry,
    reconcile: Reconcile,
    storage: StorageAccount,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """What `resend` brought back is not reconciled, and what was reconciled is not resent."""
    first, second = recent(), recent()
    _lose(first, ["acr-push"])
    file = tmp_path / "log.txt"
    file.write_text("\n".join(caplog.messages))
    assert (await _resend(registry, file)).status == 0
    registry[EVENTS].entries = [registry.entry(first), registry.entry(second)]
    assert (await reconcile()).counts == {"already recovered": 1, "recovered": 1}
    _lose(second, ["acr-push"])
    _lose(second, ["acr-push"], region="westeurope")
    file.write_text("\n".join(caplog.messages))
    ended = await _resend(registry, file, "--json")
    assert [line["result"] for line in _lines(ended)] == ["already recovered"] * 2 + ["resent"]
    events = await storage.documents("acr-push")
    assert sorted(event["id"] for event in events) == sorted([first["id"], *[second["id"]] * 2])
    assert [event.get("acrregion") for event in events].count("westeurope") == 1


def test_many_queues_are_joined(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A delivery whose queues need several lines is one delivery that lacks all of them."""
    queues = [f"acr-queue-{number}" for number in range(250)]
    _lose({**recent(), "future": "€" * 5_000}, queues)
    lines = [message for message in caplog.messages if message.startswith("acr_lost")]
    assert len(lines) > 3
    file = tmp_path / "log.txt"
    file.write_text("\n".join([*lines, *lines]))
    found = fallback_log.read(file)
    assert found.unusable == []
    [lost] = found.lost
    assert lost.queues == tuple(queues)


async def test_unusable_lines_fail(
    registry: Registry, storage: StorageAccount, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """`resend` fails for lines that are cut, damaged or incomplete, and sends the others."""
    wanted, large = recent(), {**recent(), "future": "€" * 5_000}
    _lose(wanted)
    _lose(large)
    whole, first, *_ = (m for m in caplog.messages if m.startswith("acr_lost"))
    forged = whole.replace("hello-world", "hello-w0rld").replace('"invocation"', '"x"')
    file = tmp_path / "log.txt"
    other = f'{forged[:-1]}, "invocation": "other"}}'
    file.write_text("\n".join([whole, first, whole[:500], other]))
    ended = await _resend(registry, file)
    assert ended.status == 1
    assert "lacks part 2" in ended.errors
    assert "is cut or damaged" in ended.errors
    assert "does not have the SHA-256" in ended.errors
    assert await storage.ids("acr-push") == [wanted["id"]]
    file.write_text("nothing")
    assert "has no line acr_lost_delivery" in (await _resend(registry, file)).errors


async def test_lost_rejection_is_kept(
    registry: Registry, storage: StorageAccount, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A delivery that could not be kept as a dead letter is one after `resend`."""
    _lose({**recent(), "action": "pull"}, ["acr-rejected"])
    accepted = recent()
    _lose(accepted, ["acr-rejected"])
    file = tmp_path / "log.txt"
    file.write_text("\n".join(caplog.messages))
    ended = await _resend(registry, file, "--json")
    assert ended.status == 0
    assert [line["result"] for line in _lines(ended)] == ["rejected now", "resent"]
    assert [d["reason"] for d in await storage.documents("acr-rejected")] == ["unknown-action"]
    assert await storage.ids("acr-push") == [accepted["id"]]
