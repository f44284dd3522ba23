"""docs/cost.md shows what its data add up to, and the data are those of the app."""

import asyncio
import json
import logging
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.core.delivery import Delivery
from shared.core.routing import Routes
from shared.core.webhooks import webhooks
from shared.monitoring import queue_depth
from shared.pipeline import Pipeline
from shared.reconcile.delivery_log import Window
from shared.reconcile.webhook_run import Plan, WebhookRun
from shared.settings import Settings
from shared.storage.depth import Depth
from tests.support.deliveries import example
from tests.support.documents import ROOT, read
from tools.cost import DATA, month, tables

COST: dict[str, Any] = json.loads(DATA.read_bytes())
PAGE = read("docs/cost.md")
DEPLOYED, MEASURED = COST["deployment"], COST["measuredBytes"]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WEBHOOK = (
    "/subscriptions/0/resourceGroups/images/providers/Microsoft.ContainerRegistry"
    "/registries/myregistry/webhooks/acrabcdefghijklm"
)


def _rounded(size: int) -> int:
    """The bytes as docs/cost.json has them: rounded up to whole hundreds."""
    return -(-size // 100) * 100


class _Queues:
    """Keeps the messages as they are sent. Every queue holds a message for an hour."""

    def __init__(self) -> None:
        self.sent: dict[str, list[bytes]] = defaultdict(list)

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        self.sent[queue].append(message)

    async def depth(self, queue: str, deadline: float) -> Depth:
        return Depth(1000, datetime.now(UTC))


@pytest.mark.parametrize("name", tables(COST))
def test_page_shows_computed_table(name: str) -> None:
    """Each table of the page is what the data add up to."""
    assert f"\n\n{tables(COST)[name]}\n\n" in PAGE


def test_sums_are_those_by_hand() -> None:
    """The costs of 1,000 pushes a day are those computed by hand."""
    pushes, runs = 1000 * 730 / 24, 12 * 730
    expected = {
        "baseline": 1 * 730 * 3600 * 2 * 0.000004,
        "delivery_time": pushes * 2 * 0.000016,
        "timer_time": 2 * runs * 2 * 0.000026,
        "executions": (pushes + 2 * runs) * 0.4e-6,
        "queue_operations": (3 * pushes + 2 * DEPLOYED["queues"] * runs) * 0.4e-6,
        "queue_capacity": 1000 * 1500e-9 * 0.05625,
        "logs": (500 * pushes + 100 * (DEPLOYED["queues"] + 1) * runs) * 1e-9 * 2.3,
        "alerts": 10 * 1.5 + DEPLOYED["furtherAlertSeries"] * 0.15,
    }
    found = month(COST, 1000)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["sum"] == pytest.approx(sum(expected.values()))
    free = expected["timer_time"] + 2 * runs * 0.4e-6 + expected["logs"]
    assert found["to_pay"] == pytest.approx(found["sum"] - free)


def test_zonal_plan_bills_six_instances() -> None:
    """A zone-redundant plan bills two instances of each scaling group, and no timer on demand."""
    zonal = month(COST, 1000, zonal=True)
    assert zonal["always_ready"] == 6
    assert zonal["baseline"] == pytest.approx(6 * month(COST, 1000)["baseline"])
    assert zonal["grants"] == pytest.approx(zonal["logs"])
    assert month(COST, 1000, zonal=True, alwaysReady=3)["always_ready"] == 7


def test_grants_end() -> None:
    """The free grants are those of the meters, however much is used."""
    found = month(COST, 10**7, alwaysReady=0)
    assert found["grants"] == pytest.approx(100_000 * 0.000026 + 0.25 * 0.4 + 5 * 2.3)


def test_every_price_has_its_source() -> None:
    """Every price has a source and the page to check it, and the tables use each."""
    for name, price in COST["prices"].items():
        assert price["source"].startswith("https://")
        assert price["check"].startswith("https://azure.microsoft.com/pricing/details/")
        changed = COST | {"prices": COST["prices"] | {name: price | {"price": 10}}}
        changes = {table for table, text in tables(changed).items() if text != tables(COST)[table]}
        assert changes & {"month", "options"}


def test_volumes_are_those_deployed() -> None:
    """Queues, timers and alert rules are as many as the app has."""
    assert DEPLOYED["queues"] == len(Routes.load({}).queues)
    assert DEPLOYED["furtherAlertSeries"] == len(Routes.load({}).queues) - 2
    triggers = [file.read_text() for file in ROOT.glob("*/function.json")]
    assert DEPLOYED["timers"] == sum('"timerTrigger"' in trigger for trigger in triggers)
    rules = json.loads(read("infra/alerts.json"))
    assert DEPLOYED["alertRules"] == len(rules)
    template = read("infra/alerts.bicep")
    assert re.findall(r"evaluationFrequency: '(\w+)'", template) == ["PT5M"]
    memory = re.search(r"instanceMemoryMB int = (\d+)", read("infra/main.bicep"))
    assert memory
    assert int(memory[1]) == DEPLOYED["instanceMemoryMb"]


def test_bytes_of_push_are_measured(caplog: pytest.LogCaptureFixture) -> None:
    """The bytes of a delivery's line and of its message are those of the documented push."""
    queues = _Queues()
    settings = Settings.read({"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    body = json.dumps(example("push")).encode()
    invocation = "00000000-0000-0000-0000-000000000000"
    # As the URL of a deployed webhook names them.
    registry, region = "myregistry.azurecr.io", "westeurope"
    delivery = Delivery(body, registry, TRACEPARENT, datetime.now(UTC), invocation, region=region)
    with caplog.at_level(logging.INFO):
        asyncio.run(Pipeline(settings, Routes.load({}), queues).process(delivery))
    [line] = caplog.messages
    assert _rounded(len(line)) == MEASURED["deliveryLine"]
    [message] = queues.sent["acr-push"]
    assert _rounded(len(b64encode(message))) == MEASURED["message"]


def test_bytes_of_timers_are_measured(caplog: pytest.LogCaptureFixture) -> None:
    """The bytes of the timers' lines are those of a queue and of a webhook."""
    with caplog.at_level(logging.INFO):
        asyncio.run(queue_depth.report(Routes.load({}), _Queues()))
    assert max(_rounded(len(line)) for line in caplog.messages) == MEASURED["queueLine"]
    assert len(caplog.messages) == DEPLOYED["queues"]

    caplog.clear()
    with caplog.at_level(logging.INFO):
        asyncio.run(_reconcile())
    [line] = caplog.messages
    assert _rounded(len(line)) == MEASURED["reconcileLine"]


async def _reconcile() -> None:
    """A run over the log of a webhook, all of whose 1,000 deliveries arrived."""
    now = datetime.now(UTC)
    response = {"statusCode": "202", "content": ""}
    entry = {"eventRequestMessage": {"content": example("push")}, "eventResponseMessage": response}

    async def pages(_: object) -> AsyncGenerator[list[object]]:
        yield [entry] * 1000

    async def release() -> None: ...

    plan = Plan(Window(now, now), now, None, False, str, lambda _: None)
    nothing = cast("Any", SimpleNamespace(release=release, pages=pages))
    [webhook] = webhooks(WEBHOOK)
    await WebhookRun(plan, webhook, nothing, nothing, nothing).run(nothing)
