"""Readiness: whether this instance could store a delivery now."""

import azure.functions as func

from shared.app import app
from shared.monitoring.health import Checked, Health


def _checked() -> Checked:
    made = app()
    return Checked(made.routes.queues, made.queues, made.misconfigured, made.routes.digest)


HEALTH = Health(_checked)


async def main(req: func.HttpRequest) -> func.HttpResponse:
    """Responds with 200 or 503, and the result of each check by name."""
    response = await HEALTH.respond()
    return func.HttpResponse(
        response.body, status_code=response.status, mimetype=response.content_type
    )
