"""The timer trigger: one round over the registry's record of its deliveries."""

import logging
import os

import azure.functions as func

from shared.app import ingest
from shared.settings import ReconcileSettings

SETTINGS = ReconcileSettings.read(os.environ)

if not SETTINGS.webhooks:
    logging.getLogger("acr_webhook").info("acr_reconcile ACR_WEBHOOKS is not set: nothing to do.")


async def main(timer: func.TimerRequest) -> None:
    """Recovers what was missed of the deliveries of all webhooks in ACR_WEBHOOKS."""
    if SETTINGS.webhooks:
        # The start of the app shall not wait for this to be imported.
        from shared.reconciliation import Reconciliation

        await Reconciliation(ingest(), SETTINGS).run()
