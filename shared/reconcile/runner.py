"""Reconciling: recovers the deliveries that the delivery log lists, but that never arrived."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from shared.core.registries import AllowList
from shared.core.routing import Routes
from shared.core.webhooks import Webhook
from shared.pipeline import MessageSender, Pipeline
from shared.reconcile.circuit_breaker import CircuitBreaker
from shared.reconcile.delivery_log import Window
from shared.reconcile.ledger import Ledger
from shared.reconcile.management import Management
from shared.reconcile.report import Report
from shared.reconcile.webhook_run import Plan, WebhookRun
from shared.settings import MANAGEMENT, ReconcileSettings, Settings
from shared.storage.transport import session

# After this time a run begins nothing new: by default, the timer starts a run every five minutes.
RUN_SECONDS = 240

# A lease that is not renewed for so long ends, and another run may acquire it.
LEASE_DURATION = timedelta(seconds=60)

_WEBHOOKS_AT_A_TIME = 4

# The endpoint of the management API in each cloud, and the suffix of the login servers there.
# https://github.com/Azure/azure-cli/blob/dev/src/azure-cli-core/azure/cli/core/cloud.py
_CLOUDS = json.loads((Path(__file__).parent / "clouds.json").read_bytes())


class Reconciliation:
    """Goes through the delivery logs of all webhooks and recovers what was missed."""

    def __init__(
        self,
        app_settings: Settings,
        routes: Routes,
        sender: MessageSender,
        settings: ReconcileSettings,
        *,
        since: datetime | None = None,
        dry_run: bool = False,
        seconds: float | None = RUN_SECONDS,
        lease_duration: timedelta = LEASE_DURATION,
        advanced: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Makes a run.

        Args:
            app_settings: The account, the registries, the budget.
            routes: The routes of the events.
            sender: Where events go.
            settings: The webhooks, and how to reach the management API.
            since: Earlier deliveries are ignored.
            dry_run: Whether to change nothing.
            seconds: After so long nothing new begins. None: no limit.
            lease_duration: How long a lease lasts that is not renewed.
            advanced: Gets the number of entries looked at.

        """
        self.reports: list[Report] = []
        self._storage = app_settings.storage
        self._registries = app_settings.registries
        self._pipeline = Pipeline(app_settings, routes, CircuitBreaker(sender))
        self._settings = settings
        self._since = since
        self._dry_run = dry_run
        self._seconds = seconds
        self._lease_duration = lease_duration
        self._advanced = advanced

    async def run(self) -> None:
        """One run over all webhooks. `reports` has the results so far, one for each webhook.

        Raises ValueError where the settings cannot lead to a ledger.
        """
        plan = self._plan()
        at_a_time = asyncio.Semaphore(_WEBHOOKS_AT_A_TIME)
        async with session() as shared:
            management = Management(self._settings.endpoint, self._settings.principal, shared)
            ledger = Ledger(self._storage, shared, lease_duration=self._lease_duration)

            async def reconcile(webhook: Webhook) -> None:
                async with at_a_time:
                    lease = ledger.lease(webhook)
                    run = WebhookRun(plan, webhook, self._pipeline, ledger, lease)
                    self.reports.append(run.report)
                    await run.run(management)

            # In random order, so that the same webhooks do not always wait behind slow ones.
            webhooks = random.sample(self._settings.webhooks, len(self._settings.webhooks))
            await asyncio.gather(*map(reconcile, webhooks))

    def _plan(self) -> Plan:
        now = datetime.now(UTC)
        horizon = now - self._settings.memory
        window = Window(max(horizon, self._since or horizon), now)
        loop = asyncio.get_running_loop()
        deadline = None if self._seconds is None else loop.time() + self._seconds
        server = partial(login_server, allowed=self._registries, endpoint=self._settings.endpoint)
        return Plan(window, horizon, deadline, self._dry_run, server, self._advanced)


def login_server(webhook: Webhook, allowed: AllowList, endpoint: str) -> str:
    """The login server of a webhook's registry: from the allow-list, else by the cloud's suffix."""
    listed = allowed.of_resource(webhook.registry_id)
    if listed:
        return listed.login_server
    return f"{webhook.registry}.{_CLOUDS.get(endpoint, _CLOUDS[MANAGEMENT])}".lower()
