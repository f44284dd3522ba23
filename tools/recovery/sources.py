"""What recovery works with: the delivery logs, the ledger, and the pipeline."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.app import App
from shared.core.parsing import decode
from shared.core.webhooks import Webhook
from shared.pipeline import Pipeline
from shared.reconcile import delivery_log
from shared.reconcile.circuit_breaker import CircuitBreaker
from shared.reconcile.delivery_log import Entry, Window
from shared.reconcile.ledger import Ledger
from shared.reconcile.management import Management
from shared.reconcile.runner import LEASE_DURATION, login_server
from shared.settings import ReconcileSettings
from shared.storage.transport import session
from tools.localhost.function_app import ToolError

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Listed:
    """An entry of the delivery log, with the members of its delivery. No header, no URL."""

    entry: Entry
    document: dict[str, Any]
    at: datetime | None

    @property
    def is_ping(self) -> bool:
        """Whether it is a ping."""
        return self.document.get("action") == "ping"


@dataclass(frozen=True)
class Period:
    """The time of deliveries, by their timestamp, in UTC."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, at: datetime | None) -> bool:
        """Whether `at` is within. A time that is not known always is."""
        if at is None:
            return True
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(frozen=True)
class Sources:
    """The app of the environment, and what it reconciles with."""

    app: App
    settings: ReconcileSettings
    pipeline: Pipeline
    management: Management
    ledger: Ledger

    def login_server(self, webhook: Webhook) -> str:
        """The login server of the registry of `webhook`."""
        return login_server(webhook, self.app.settings.registries, self.settings.endpoint)

    async def listed(self, webhook: Webhook) -> AsyncIterator[list[Listed]]:
        """The delivery log of `webhook`, a page at a time. Raises DeliveryLogUnavailable."""
        async for page in self.management.pages(webhook):
            window = Window(_EVER, datetime.now(UTC))
            yield [_listed(delivery_log.read(entry, window)) for entry in page]


@asynccontextmanager
async def sources(app: App, settings: ReconcileSettings) -> AsyncIterator[Sources]:
    """The sources, open. Raises ToolError where the settings cannot lead to a ledger."""
    pipeline = Pipeline(app.settings, app.routes, CircuitBreaker(app.queues))
    try:
        async with session() as shared:
            try:
                ledger = Ledger(app.settings.storage, shared, lease_duration=LEASE_DURATION)
            except ValueError as error:
                raise ToolError(str(error)) from None
            management = Management(settings.endpoint, settings.principal, shared)
            yield Sources(app, settings, pipeline, management, ledger)
    finally:
        await app.queues.close()


def _listed(entry: Entry) -> Listed:
    try:
        document = decode(entry.body)
    except ValueError:
        document = {}
    document = document if isinstance(document, dict) else {}
    try:
        at = datetime.fromisoformat(document["timestamp"])
    except (KeyError, TypeError, ValueError):
        return Listed(entry, document, None)
    return Listed(entry, document, at.replace(tzinfo=at.tzinfo or UTC))
