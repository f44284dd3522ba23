"""Readiness: whether this instance could store a delivery now."""

import azure.functions as func

from shared.app import ingest
from shared.monitoring.health import Health

HEALTH = Health(ingest)


async def main(req: func.HttpRequest) -> func.HttpResponse:
    """Answers 200 or 503, and with each check by name."""
    answer = await HEALTH.answer()
    return func.HttpResponse(answer.body, status_code=answer.status, mimetype=answer.content_type)
