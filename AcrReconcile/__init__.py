"""The timer trigger: one run over the delivery logs of all webhooks."""

import asyncio
import logging
import os
from importlib import import_module

import azure.functions as func

from shared.app import app
from shared.settings import ReconcileSettings

SETTINGS = ReconcileSettings.read(os.environ)

if not SETTINGS.webhooks:
    logging.getLogger("acr_webhook").info("acr_reconcile ACR_WEBHOOKS is not set: nothing to do.")


async def main(timer: func.TimerRequest) -> None:
    """Recovers the missed deliveries of all webhooks in ACR_WEBHOOKS."""
    if SETTINGS.webhooks:
        # Neither the start of the app nor a delivery may wait for these imports.
        await asyncio.to_thread(import_module, "shared.reconcile.runner")
        from shared.reconcile.runner import Reconciliation

        made = app()
        await Reconciliation(made.settings, made.routes, made.queues, SETTINGS).run()
