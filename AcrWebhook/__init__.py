"""The HTTP trigger: a request in, the pipeline, a response out."""

from datetime import UTC, datetime

import azure.functions as func

from shared.app import app
from shared.core.delivery import Delivery

# Made when the function is loaded, so that an invalid setting or route stops the app at once.
PIPELINE = app().pipeline


async def main(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Responds to one delivery of an Azure Container Registry webhook."""
    response = await PIPELINE.process(
        Delivery(
            body=req.get_body(),
            registry=req.params.get("registry"),
            traceparent=req.headers.get("traceparent"),
            received_at=datetime.now(UTC),
            invocation_id=context.invocation_id,
            region=req.params.get("region"),
        )
    )
    return func.HttpResponse(
        response.body,
        status_code=response.status,
        headers=dict(response.headers),
        mimetype=response.content_type,
    )
