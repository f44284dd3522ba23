"""Every query of the alerts, the workbook, and the documents."""

import json
import logging
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared import depth, log
from shared.ingest import Delivery, Ingest
from shared.queues import Depth, StorageUnavailable
from shared.reconciliation import RECOVERED
from shared.routing import Routes
from shared.settings import Settings
from tests.support.deliveries import example
from tools import processes

INFRA = processes.ROOT / "infra"


def _queries() -> dict[str, str]:
    found = {
        f"alert {alert['name']}": "\n".join(alert["query"])
        for alert in json.loads((INFRA / "alerts.json").read_bytes())
    }
    for item in json.loads((INFRA / "workbook.json").read_bytes())["items"]:
        if item["type"] == 3:
            # As the workbook fills it in.
            query = item["content"]["query"].replace("{TimeRange:grain}", "5m")
            found[f"workbook {item['name']}"] = query
    for file in (processes.ROOT / "README.md", *processes.ROOT.glob("docs/*.md")):
        blocks = re.findall(r"```kusto\n(.*?)```", file.read_text(), re.DOTALL)
        found |= {f"{file.name} {number}": block for number, block in enumerate(blocks, 1)}
    return found


QUERIES = _queries()


def _faults(*queries: str) -> list[list[str]]:
    script = Path(__file__).with_name("kusto.cjs")
    result = subprocess.run(
        [shutil.which("node") or "node", script],
        input=json.dumps(queries), capture_output=True, text=True, check=True,
    )  # fmt: skip
    faults: list[list[str]] = json.loads(result.stdout)
    return faults


def test_kustos_own_parser_has_nothing_against_any_query() -> None:
    found = dict(zip(QUERIES, _faults(*QUERIES.values()), strict=True))
    assert len(found) >= 24
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_the_parser_knows_a_bad_query() -> None:
    bad = ["traces | wher true", "trace | count", "traces | where messages == ''"]
    assert all(_faults(*bad))


class _Storage:
    """Takes messages for all queues but one, and tells of one queue only."""

    async def send(self, queue: str, *_: object) -> None:
        if queue == "acr-delete":
            raise StorageUnavailable(queue, TimeoutError())

    async def depth(self, queue: str, deadline: float) -> Depth:
        if queue == "acr-delete":
            raise StorageUnavailable(queue, TimeoutError())
        return Depth(1, datetime.now(UTC))

    async def reach(self, queue: str, deadline: float) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@pytest.fixture
async def logged(caplog: pytest.LogCaptureFixture) -> dict[str, set[str]]:
    """The members of the lines that the log has, by marker."""
    settings = Settings.read({"AcrEventsStorage": "UseDevelopmentStorage=true"})
    app = Ingest(settings, Routes.load({}), _Storage())
    now = datetime.now(UTC)
    with caplog.at_level(logging.INFO, "acr_webhook"):
        bad: dict[str, Any] = {"action": "push"}
        for delivery in (example("push"), example("delete"), example("ping"), bad):
            body, host = json.dumps(delivery).encode(), delivery.get("request", {}).get("host")
            await app.receive(Delivery(body, host, "00-0-0-00", now, "1"))
        await depth.report(app)
        log.reconciled(logging.INFO, {"webhook": "w", RECOVERED: 1, "error": "t"})
    members: dict[str, set[str]] = defaultdict(set)
    for record in caplog.records:
        marker, _, document = record.getMessage().partition(" ")
        members[marker] |= set(_members(json.loads(document)))
    return members


def _members(document: dict[str, Any]) -> Iterator[str]:
    for name, value in document.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_what_the_log_has(name: str, logged: dict[str, set[str]]) -> None:
    query = QUERIES[name]
    markers = re.findall(r"startswith ['\"](\w+) ", query)
    assert set(markers) <= logged.keys()
    assert bool(markers) == bool(re.search(r"^traces", query, re.MULTILINE))
    asked = set(re.findall(r"\bd\.([a-z_]+(?:\.[a-z]+)?)", query))
    for marker, offset in zip(
        markers, re.findall(r"substring\(message, (\d+)\)", query), strict=False
    ):
        assert int(offset) == len(marker) + 1
        assert asked <= logged[marker]
    assert not asked or markers
