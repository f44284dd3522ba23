"""The HTTP trigger: a request in, the road, a response out."""

import os
from datetime import UTC, datetime

import azure.functions as func

from shared.ingest import Delivery, Ingest
from shared.settings import Settings

# Read when the function is loaded: a setting or a route that cannot be used stops the app then.
INGEST = Ingest.from_settings(Settings.read(os.environ))


async def main(req: func.HttpRequest) -> func.HttpResponse:
    """Answers one delivery of an Azure Container Registry webhook."""
    answer = await INGEST.receive(
        Delivery(
            body=req.get_body(),
            registry=req.params.get("registry"),
            traceparent=req.headers.get("traceparent"),
            received_at=datetime.now(UTC),
        )
    )
    return func.HttpResponse(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        mimetype=answer.content_type,
    )
