"""What is public or stored keeps its names and values; what other tests do not pin is pinned here.

Deployed alerts, consumers, and a table that was filled long ago read these words. Pinned elsewhere:

- responses and health: test_responses.py; kinds of problems: test_problems.py
- the event's attributes: test_normalization.py; dead letters: test_dead_letter.py
- the queues of the shipped routes: test_routing.py; app settings: test_settings.py
- the ledger's table, partitions and columns: test_ledger.py; its verdicts: test_delivery_log.py
- the lines `acr_start`: test_version.py, and `acr_identity`: test_credentials.py
- names of commands: tests/e2e/test_command_names.py; exit statuses: tests/e2e/test_cli*.py,
  tests/integration/test_replay.py, tests/reconcile/; `peek --json`: tests/e2e/test_cli_peek.py
"""

import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from shared import log
from shared.core.delivery import Delivery
from shared.core.misconfiguration import Misconfiguration
from shared.core.problems import Kind, Problem
from shared.core.responses import problem_details
from shared.core.routing import Routes
from shared.core.webhooks import Webhook
from shared.monitoring import queue_depth
from shared.monitoring.health import Checked, Health
from shared.pipeline import Pipeline
from shared.reconcile.delivery_log import Window
from shared.reconcile.lease import Lease
from shared.reconcile.ledger import Ledger
from shared.reconcile.management import Management
from shared.reconcile.webhook_run import Plan, WebhookRun
from shared.settings import Settings, SettingsError
from shared.storage.depth import Depth
from shared.storage.errors import StorageUnavailable
from tests.support.deliveries import example
from tests.support.documents import ROOT
from tests.support.memory import InMemoryQueues

NOW = datetime.now(UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STORED = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "acr_webhook")


def _lines(caplog: pytest.LogCaptureFixture, marker: str) -> list[dict[str, Any]]:
    """The objects of the lines that begin with `marker`."""
    begin = f"{marker} {{"
    return [json.loads(m[len(marker) :]) for m in caplog.messages if m.startswith(begin)]


def _pipeline(queues: InMemoryQueues, routes: Mapping[str, Any] | None = None) -> Pipeline:
    settings = Settings.read({"AcrEventsStorage": "UseDevelopmentStorage=true"})
    loaded = Routes.parse(json.dumps(routes).encode(), {}) if routes else Routes.load({})
    return Pipeline(settings, loaded, queues)


def _delivery(body: Mapping[str, Any]) -> Delivery:
    return Delivery(json.dumps(body).encode(), None, TRACE, STORED, "invocation-1")


CHARTS = {
    "routes": [{"queue": "charts", "actions": ["chart_push"]}],
    "rejectedQueue": "acr-rejected",
}
PUSH = {
    "id": "cb8c3971-9adc-488b-bdd8-43cbb4974ff5",
    "action": "push",
    "registry": "myregistry.azurecr.io",
    "repository": "hello-world",
    "subject": "hello-world:v1",
}
PING = {"id": "1", "timestamp": "2026-11-21T12:00:00Z", "action": "ping"}
PULL = {"id": "1", "action": "pull"}
# A chart of which only the subject can be read.
BAD_CHART = {"action": "chart_push", "target": {"name": "wordpress", "version": "5.4.0.tgz"}}
REJECTED = {"outcome": "rejected", "status": 422, "reason": "unknown-action"}


@pytest.mark.parametrize(
    ("body", "queues", "routes", "fields"),
    [
        (
            example("push"), InMemoryQueues(), None,
            {"outcome": "accepted", "status": 202, "queues": ["acr-push"], **PUSH},
        ),
        (
            example("push"), InMemoryQueues(), CHARTS,
            {"outcome": "unrouted", "status": 202, "queues": [], **PUSH},
        ),
        (
            example("push"), InMemoryQueues("acr-push"), None,
            {"outcome": "logged", "status": 503, "queues": ["acr-push"], **PUSH},
        ),
        (
            PING, InMemoryQueues(), None,
            {"outcome": "ping", "status": 200, "id": "1", "action": "ping"},
        ),
        (PULL, InMemoryQueues(), None, {**REJECTED, "queues": ["acr-rejected"], **PULL}),
        (
            BAD_CHART, InMemoryQueues(), None,
            {
                **REJECTED, "reason": "invalid-delivery", "queues": ["acr-rejected"],
                "action": "chart_push", "subject": "wordpress:5.4.0.tgz",
            },
        ),
    ],
    ids=["accepted", "unrouted", "logged", "ping", "rejected", "invalid"],
)  # fmt: skip
async def test_delivery_line_keeps_its_fields(
    body: Mapping[str, Any],
    queues: InMemoryQueues,
    routes: Mapping[str, Any] | None,
    fields: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A line `acr_delivery` has these fields for each outcome, and no others."""
    await _pipeline(queues, routes).process(_delivery(body))
    [line] = _lines(caplog, "acr_delivery")
    assert isinstance(line.pop("milliseconds"), float)
    assert line == {"invocation": "invocation-1", "traceparent": TRACE, **fields}


async def test_delivery_line_has_region(caplog: pytest.LogCaptureFixture) -> None:
    """A line `acr_delivery` has the event's region, or the parameter of a rejected delivery."""
    for region in ("EastUS", "east us"):
        body = json.dumps(example("push")).encode()
        delivery = Delivery(body, None, None, STORED, region=region)
        await _pipeline(InMemoryQueues()).process(delivery)
    lines = _lines(caplog, "acr_delivery")
    assert [(line["outcome"], line["region"]) for line in lines] == [
        ("accepted", "eastus"),
        ("rejected", "east us"),
    ]


async def test_recovered_delivery_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The line of a recovered delivery has `recovered`, and neither status nor time."""
    await _pipeline(InMemoryQueues()).recover(_delivery(example("push")))
    [line] = _lines(caplog, "acr_delivery")
    fields = {"outcome": "accepted", "recovered": True, "traceparent": TRACE}
    assert line == {**fields, "queues": ["acr-push"], **PUSH}


async def test_lost_delivery_line_keeps_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    """A line `acr_lost_delivery`, from which deliveries are restored, has these fields."""
    body = b'{"id": "1", "action": "pull"}'
    delivery = Delivery(
        body, "myregistry.azurecr.io", TRACE, STORED, "invocation-1", region="EastUS"
    )
    await _pipeline(InMemoryQueues("acr-rejected")).process(delivery)
    [line] = _lines(caplog, "acr_lost_delivery")
    assert line == {
        "reason": "storage-unavailable",
        "detail": "acr-rejected: Storage did not respond in time.",
        "queues": ["acr-rejected"],
        "receivedAt": "2026-11-21T12:00:05Z",
        "registry": "myregistry.azurecr.io",
        "region": "EastUS",
        "traceparent": TRACE,
        "invocation": "invocation-1",
        "part": 1,
        "parts": 1,
        "body": {
            "encoding": "utf-8",
            "content": body.decode(),
            "length": 29,
            "sha256": hashlib.sha256(body).hexdigest(),
            "truncated": False,
        },
    }


class _Storage:
    """Tells how much lies on every queue but one, and probes every queue but that one."""

    async def depth(self, queue: str, deadline: float) -> Depth:
        await self.probe(queue, deadline)
        return Depth(7, None)

    async def probe(self, queue: str, deadline: float) -> None:
        if queue == "charts":
            raise StorageUnavailable(queue, TimeoutError())


async def test_queue_line_keeps_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    """A line `acr_queue` has two numbers, or the error that took their place."""
    await queue_depth.report(Routes.parse(json.dumps(CHARTS).encode(), {}), _Storage())
    error = "charts: Storage did not respond in time"
    assert _lines(caplog, "acr_queue") == [
        {"queue": "charts", "rejected": False, "error": error},
        {"queue": "acr-rejected", "rejected": True, "messages": 7, "oldest_seconds": 0},
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SettingsError("ACR_X is odd"), "acr_health settings: ACR_X is odd"),
        (None, "acr_health charts: Storage did not respond in time"),
    ],
)
async def test_health_line_keeps_its_form(
    error: Exception | None, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A line `acr_health` names the check that failed, and why."""

    def load() -> Checked:
        if error:
            raise error
        return Checked(["acr-push", "charts"], _Storage())

    await Health(load).respond()
    assert caplog.messages == [line]


async def test_misconfiguration_lines_keep_form(caplog: pytest.LogCaptureFixture) -> None:
    """A misconfiguration has one line `acr_health` and, at the start, one `acr_configuration`."""
    found = Misconfiguration("a route", "is odd", "Use b.", '"a"')
    await Health(lambda: Checked([], _Storage(), {"routes": [found]})).respond()
    assert caplog.messages == ['acr_health routes: a route: "a" is odd. Use b.']
    log.misconfigured({"place": found.place, "problem": found.detail})
    fields = {"place": "a route", "problem": '"a" is odd. Use b.'}
    assert _lines(caplog, "acr_configuration") == [fields]


WEBHOOK = Webhook.parse(
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/Contoso"
    "/webhooks/Events"
)
# The response to a rejected delivery as ACR has it from an older version, cut.
OLD_RESPONSE = '{"type": "https://acr-webhook.example/problems/unknown-action", "tit'


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(
    content: object, status: str = "503", answer: str = "", age: timedelta = timedelta(hours=1)
) -> dict[str, Any]:
    if isinstance(content, dict):
        content = {**content, "timestamp": (NOW - age).isoformat()}
    return {
        "id": "e",
        "eventRequestMessage": {"content": content},
        "eventResponseMessage": {"statusCode": status, "content": answer},
    }


ENTRIES = [
    _entry(example("push", id="delivered"), "202"),
    _entry(example("push", id="rejected"), "422", OLD_RESPONSE),
    _entry({"id": "ping", "action": "ping"}),
    _entry(example("push", id="young"), age=timedelta()),
    _entry(example("push", id="old"), age=timedelta(days=40)),
    _entry(example("push", id="known"), "504"),
    _entry(example("push", id="twice"), "504"),
    _entry(example("push", id="twice"), "504"),
    _entry({"id": "odd", "action": "pull"}),
    _entry("no delivery"),
    _entry(example("chart_push", id="not stored")),
    _entry(example("delete", id="failed")),
]


class _Queues(InMemoryQueues):
    """Takes no charts, and breaks the app with a deletion."""

    def __init__(self) -> None:
        super().__init__("acr-chart-push")

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        if queue == "acr-delete":
            raise RuntimeError("secret")
        await super().send(queue, message, deadline, request_id)


class _Azure:
    """The management API, the ledger and the lease."""

    def __init__(self) -> None:
        self.added: list[str] = []

    async def pages(self, _: Webhook) -> AsyncIterator[list[Any]]:
        yield ENTRIES

    async def entries(self, _: Webhook) -> dict[str, datetime]:
        return {_sha256("event known"): NOW}

    async def add(self, _: Webhook, key: str, _now: datetime, **_about: object) -> None:
        self.added.append(key)

    async def acquire_or_renew(self) -> bool:
        return True

    async def release(self) -> None:
        pass


async def _reconcile(*, dry_run: bool) -> _Azure:
    azure = _Azure()
    since = NOW - timedelta(days=30)
    plan = Plan(
        Window(since, NOW), since, None, dry_run, lambda _: "contoso.azurecr.io", lambda _: None
    )
    pipeline = _pipeline(_Queues())
    run = WebhookRun(plan, WEBHOOK, pipeline, cast("Ledger", azure), cast("Lease", azure))
    await run.run(cast("Management", azure))
    return azure


async def test_reconcile_line_keeps_its_counts(caplog: pytest.LogCaptureFixture) -> None:
    """A line `acr_reconcile` counts the entries under these names."""
    await _reconcile(dry_run=False)
    detail = "acr-chart-push: Storage did not respond in time."
    assert _lines(caplog, "acr_reconcile") == [
        {
            "webhook": "Contoso/Events",
            "delivered": 1,
            "rejected": 1,
            "pings": 1,
            "too young": 1,
            "too old": 1,
            "already recovered": 1,
            "listed twice": 1,
            "recovered": 1,
            "rejected now": 2,
            "not stored": 1,
            "failed": 1,
            "timed out": 1,
            "error": f"Storage did not store all of them: {detail}",
        }
    ]


async def test_dry_run_line_counts_missed(caplog: pytest.LogCaptureFixture) -> None:
    """In a dry run, a line `acr_reconcile` counts what would be recovered as `missed`."""
    await _reconcile(dry_run=True)
    [line] = _lines(caplog, "acr_reconcile")
    assert (line["missed"], line["timed out"]) == (5, 1)
    assert not {"recovered", "rejected now", "not stored", "failed"} & line.keys()


async def test_ledger_rows_keep_their_words() -> None:
    """The row keys of events and of malformed entries stay: else all is recovered again."""
    azure = await _reconcile(dry_run=False)
    assert sorted(azure.added) == sorted(
        [_sha256("event twice"), _sha256("event odd"), _sha256("entry e")]
    )


async def test_internal_error_line_keeps_its_form(caplog: pytest.LogCaptureFixture) -> None:
    """A line `acr_fault` has the kind of error and where it was raised, without its message."""
    await _reconcile(dry_run=False)
    [line] = [message for message in caplog.messages if message.startswith("acr_fault")]
    assert re.fullmatch(r"acr_fault RuntimeError in test_pins\.py:\d+ send < [\w.: <]+", line)


def test_problem_details_keep_their_order() -> None:
    """Problem details begin with `type`, by which the app knows them in ACR's delivery log."""
    body = problem_details(Problem(Kind.UNROUTED, "Why.")).body.decode()
    assert body == (
        '{"type": "https://acr-webhook.example/problems/unrouted", '
        '"title": "No route matches the event", "status": 422, "detail": "Why.", '
        '"errors": [{"pointer": "", "detail": "Why."}]}'
    )


@pytest.mark.parametrize("name", ["event.v1.json", "routes.v1.json", "rejected.v1.json"])
def test_public_schema_stays_in_place(name: str) -> None:
    """The schemas that users refer to keep their path and their `$id`."""
    document = json.loads((ROOT / "shared" / "schemas" / name).read_bytes())
    assert document["$id"] == f"https://acr-webhook.example/schemas/{name}"


def test_schedule_setting_keeps_its_name() -> None:
    """The schedule of `AcrReconcile` is the app setting `AcrReconcileSchedule`."""
    trigger = json.loads((ROOT / "AcrReconcile" / "function.json").read_bytes())
    assert trigger["bindings"][0]["schedule"] == "%AcrReconcileSchedule%"
