"""The queries of the alerts, the workbook and the documents fit the log."""

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

from shared import log
from shared.core.delivery import Delivery
from shared.core.routing import Routes
from shared.monitoring import queue_depth
from shared.pipeline import Pipeline
from shared.reconcile.report import RECOVERED
from shared.settings import Settings
from shared.storage.depth import Depth
from shared.storage.errors import StorageUnavailable
from tests.support.deliveries import example
from tools.localhost import processes

INFRA = processes.ROOT / "infra"


def _queries() -> dict[str, str]:
    """Every query by the place where it is."""
    found = {
        f"alert {alert['name']}": "\n".join(alert["query"])
        for alert in json.loads((INFRA / "alerts.json").read_bytes())
    }
    for item in json.loads((INFRA / "workbook.json").read_bytes())["items"]:
        if item["type"] == 3:
            # The workbook replaces this parameter.
            query = item["content"]["query"].replace("{TimeRange:grain}", "5m")
            found[f"workbook {item['name']}"] = query
    for file in (processes.ROOT / "README.md", *processes.ROOT.glob("docs/*.md")):
        blocks = re.findall(r"```kusto\n(.*?)```", file.read_text(), re.DOTALL)
        found |= {f"{file.name} {number}": block for number, block in enumerate(blocks, 1)}
    return found


QUERIES = _queries()


def _errors(*queries: str) -> list[list[str]]:
    """The errors of Kusto's own parser in each query."""
    script = Path(__file__).with_name("kusto.cjs")
    result = subprocess.run(
        [shutil.which("node") or "node", script],
        input=json.dumps(queries), capture_output=True, text=True, check=True,
    )  # fmt: skip
    errors: list[list[str]] = json.loads(result.stdout)
    return errors


def test_every_query_is_valid_kusto() -> None:
    """Kusto's own parser reports no error in any query."""
    found = dict(zip(QUERIES, _errors(*QUERIES.values()), strict=True))
    assert len(found) >= 24
    assert {name: errors for name, errors in found.items() if errors} == {}


def test_kusto_parser_reports_errors() -> None:
    """The parser reports an unknown operator, an unknown table, and an unknown column."""
    bad = ["traces | wher true", "trace | count", "traces | where messages == ''"]
    assert all(_errors(*bad))


class _Storage:
    """Queues of which one, acr-delete, always fails."""

    async def send(self, queue: str, *_: object) -> None:
        if queue == "acr-delete":
            raise StorageUnavailable(queue, TimeoutError())

    async def depth(self, queue: str, deadline: float) -> Depth:
        if queue == "acr-delete":
            raise StorageUnavailable(queue, TimeoutError())
        return Depth(1, datetime.now(UTC))

    async def probe(self, queue: str, deadline: float) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@pytest.fixture
async def logged(caplog: pytest.LogCaptureFixture) -> dict[str, set[str]]:
    """The fields of the log lines, by marker."""
    settings = Settings.read({"AcrEventsStorage": "UseDevelopmentStorage=true"})
    routes, storage = Routes.load({}), _Storage()
    pipeline = Pipeline(settings, routes, storage)
    now = datetime.now(UTC)
    with caplog.at_level(logging.INFO, "acr_webhook"):
        bad: dict[str, Any] = {"action": "push"}
        for delivery in (example("push"), example("delete"), example("ping"), bad):
            body, host = json.dumps(delivery).encode(), delivery.get("request", {}).get("host")
            await pipeline.process(Delivery(body, host, "00-0-0-00", now, "1", region="eastus"))
        await queue_depth.report(routes, storage)
        log.reconciled(logging.INFO, {"webhook": "w", RECOVERED: 1, "error": "t"})
    fields: dict[str, set[str]] = defaultdict(set)
    for record in caplog.records:
        marker, _, document = record.getMessage().partition(" ")
        fields[marker] |= set(_fields(json.loads(document)))
    return fields


def _fields(document: dict[str, Any]) -> Iterator[str]:
    """The fields of a log line, and those one level inside, joined by a dot."""
    for name, value in document.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)


@pytest.mark.parametrize("name", QUERIES)
def test_query_fields_are_in_log_lines(name: str, logged: dict[str, set[str]]) -> None:
    """A query reads only the markers and the fields that log lines have."""
    query = QUERIES[name]
    markers = re.findall(r"startswith ['\"](\w+) ", query)
    assert set(markers) <= logged.keys()
    assert bool(markers) == bool(re.search(r"^traces", query, re.MULTILINE))
    used = set(re.findall(r"\bd\.([a-z_]+(?:\.[a-z]+)?)", query))
    for marker, offset in zip(
        markers, re.findall(r"substring\(message, (\d+)\)", query), strict=False
    ):
        assert int(offset) == len(marker) + 1
        assert used <= logged[marker]
    assert not used or markers
