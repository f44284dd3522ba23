"""Tokens for the managed identity of the app: one request to the platform, without azure-identity.

Its import would be the longest part of a cold start (docs/decisions/0013-direct-send.md).
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from azure.core import AsyncPipelineClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

from shared.storage.transport import USER_AGENT

_API_VERSION = "2019-08-01"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address at which the platform issues tokens, and the secret that it expects."""

    url: str
    header: str = field(repr=False)


def endpoint() -> Endpoint | None:
    """The endpoint of this process, None outside the platform."""
    url, header = (os.environ.get(f"IDENTITY_{name}", "") for name in ("ENDPOINT", "HEADER"))
    return Endpoint(url, header) if url and header else None


class ManagedIdentity:
    """Requests a token each time. SharedTokenCredential keeps them."""

    def __init__(
        self, platform: Endpoint, client_id: str | None, transport: AioHttpTransport
    ) -> None:
        self._platform = platform
        self._client_id = client_id
        self._client = AsyncPipelineClient[HttpRequest, AsyncHttpResponse](
            platform.url, policies=[], transport=transport
        )

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the one scope. Raises HttpResponseError, ValueError, AzureError, OSError."""
        [scope] = scopes
        query = {"resource": scope.removesuffix("/.default"), "api-version": _API_VERSION}
        if self._client_id:
            query["client_id"] = self._client_id
        url = f"{self._platform.url}?{urlencode(query)}"
        headers = {"X-IDENTITY-HEADER": self._platform.header, "User-Agent": USER_AGENT}
        response = await self._client.send_request(HttpRequest("GET", url, headers=headers))
        if response.status_code != 200:
            raise HttpResponseError(f"the platform responded {response.status_code}")
        document = response.json()
        try:
            token, expires_on = document["access_token"], int(document["expires_on"])
        except (TypeError, KeyError, ValueError):
            raise ValueError("the platform's response holds no token") from None
        if not isinstance(token, str) or not token:
            raise ValueError("the platform's response holds no token")
        return AccessToken(token, expires_on)
