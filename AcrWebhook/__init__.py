"""The HTTP trigger: a request in, the road, a response out."""

from datetime import UTC, datetime

import azure.functions as func

from shared.app import ingest
from shared.pipeline import Delivery

# Made when the function is loaded: a setting or a route that cannot be used stops the app then.
INGEST = ingest()


async def main(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answers one delivery of an Azure Container Registry webhook."""
    answer = await INGEST.receive(
        Delivery(
            body=req.get_body(),
            registry=req.params.get("registry"),
            traceparent=req.headers.get("traceparent"),
            received_at=datetime.now(UTC),
            invocation_id=context.invocation_id,
        )
    )
    return func.HttpResponse(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        mimetype=answer.content_type,
    )
