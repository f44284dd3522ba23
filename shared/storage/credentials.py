"""Access tokens for an identity, instead of an account's key."""

import asyncio
import logging
import time
from importlib import import_module
from typing import Any, cast

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AioHttpTransport

from shared.storage.connections import Principal
from shared.storage.transport import USER_AGENT

# A request for a token may outlive the delivery that started it.
_REQUEST_TIMEOUT_SECONDS = 10

# A token that is valid for longer is used while it is renewed.
_LEAST_VALIDITY_SECONDS = 60
# In that case, a delivery waits so long for the new token.
_RENEWAL_WAIT_SECONDS = 0.2

# Between two log lines with a reason.
_LOG_INTERVAL_SECONDS = 10

# azure.identity logs a page for each failure. Our own log has the reason.
logging.getLogger("azure.identity").setLevel(logging.CRITICAL)

_LOG = logging.getLogger("acr_webhook")


class TokenUnavailable(ClientAuthenticationError):
    """There is no access token for the identity. The log has the reason."""

    def __init__(self) -> None:
        super().__init__(
            "could not get an access token: on a developer's machine run `az login`, in Azure "
            "check the app's identity"
        )


def prepare() -> None:
    """Imports the package of the credentials, so that no delivery waits for the import."""
    import_module("azure.identity.aio")


def credential(principal: Principal, transport: AioHttpTransport) -> AsyncTokenCredential:
    """The credential of `principal`. Its own requests go through `transport`."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    source: AsyncTokenCredential
    if principal.managed:
        source = ManagedIdentityCredential(
            client_id=principal.client_id, transport=transport, user_agent=USER_AGENT
        )
    else:
        source = DefaultAzureCredential(
            transport=transport,
            user_agent=USER_AGENT,
            **({"managed_identity_client_id": principal.client_id} if principal.client_id else {}),
        )
    # An SDK client calls `get_token` and nothing else.
    return cast("AsyncTokenCredential", SharedTokenCredential(source))


class SharedTokenCredential:
    """Shares one request for a token among all that wait for it.

    The request continues when the delivery that started it gives up. Otherwise a platform that
    needs longer than one attempt to send could never respond. While a token is renewed, the old one
    is used as long as it is valid.
    """

    def __init__(self, source: AsyncTokenCredential) -> None:
        self._source = source
        self._requests: dict[str, asyncio.Task[AccessToken]] = {}
        self._tokens: dict[str, AccessToken] = {}
        self._logged_at = float(-_LOG_INTERVAL_SECONDS)

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for `scopes`. Raises TokenUnavailable."""
        key = repr((scopes, sorted(options.items())))
        request = self._requests.get(key)
        if request is None or request.done():
            request = asyncio.create_task(self._request(key, *scopes, **options))
            request.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._requests[key] = request
        token = self._tokens.get(key)
        if token is None or token.expires_on - time.time() < _LEAST_VALIDITY_SECONDS:
            return await asyncio.shield(request)
        await asyncio.wait([request], timeout=_RENEWAL_WAIT_SECONDS)
        return request.result() if request.done() and not request.exception() else token

    async def _request(self, key: str, *scopes: str, **options: Any) -> AccessToken:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                token = await self._source.get_token(*scopes, **options)
        except Exception as error:
            now = asyncio.get_running_loop().time()
            if now - self._logged_at >= _LOG_INTERVAL_SECONDS:
                self._logged_at = now
                reason = str(error).partition("\n")[0] or "no response in time"
                _LOG.error("acr_identity %s: %s", type(error).__name__, reason)
            raise TokenUnavailable from error
        self._tokens[key] = token
        return token
