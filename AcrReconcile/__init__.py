"""The timer trigger: one round over the registry's record of its deliveries."""

import asyncio
import logging
import os
from importlib import import_module

import azure.functions as func

from shared.app import ingest
from shared.settings import ReconcileSettings

SETTINGS = ReconcileSettings.read(os.environ)

if not SETTINGS.webhooks:
    logging.getLogger("acr_webhook").info("acr_reconcile ACR_WEBHOOKS is not set: nothing to do.")


async def main(timer: func.TimerRequest) -> None:
    """Recovers what was missed of the deliveries of all webhooks in ACR_WEBHOOKS."""
    if SETTINGS.webhooks:
        # Neither the start of the app nor a delivery shall wait for this to be imported.
        await asyncio.to_thread(import_module, "shared.reconcile.runner")
        from shared.reconcile.runner import Reconciliation

        await Reconciliation(ingest(), SETTINGS).run()
