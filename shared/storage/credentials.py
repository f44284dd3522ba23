"""Access tokens for an identity, instead of an account's key."""

import asyncio
import logging
import time
from importlib import import_module
from typing import Any, Protocol, cast

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AioHttpTransport

from shared import log
from shared.storage import managed_identity
from shared.storage.connections import Principal
from shared.storage.managed_identity import ManagedIdentity
from shared.storage.transport import SMALL_BYTES, USER_AGENT, responses_up_to

# The queues and the tables of every account in every cloud have this one.
# https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory#microsoft-authentication-library-msal
STORAGE_SCOPE = "https://storage.azure.com/.default"

# A request for a token may outlive the delivery that started it.
_REQUEST_TIMEOUT_SECONDS = 10

# A token that is valid for longer is used while it is renewed.
_LEAST_VALIDITY_SECONDS = 60
# When a token is renewed: at half of a long life, or so long before its end.
_LONG_LIFE_SECONDS = 7200
_RENEWAL_SECONDS = 300
# In that case, a delivery waits so long for the new token.
_RENEWAL_WAIT_SECONDS = 0.2

# Between two log lines with a reason.
_LOG_INTERVAL_SECONDS = 10

# azure.identity logs a page for each failure. Our own log has the reason.
logging.getLogger("azure.identity").setLevel(logging.CRITICAL)


class TokenUnavailable(ClientAuthenticationError):
    """There is no access token for the identity. The log has the reason."""

    why = (
        "could not get an access token: on a developer's machine run `az login`, in Azure "
        "check the app's identity"
    )

    def __init__(self) -> None:
        super().__init__(self.why)


class AudienceRefused(TokenUnavailable):
    """A server asked for a token of another audience than the one that it is called for."""

    why = "the server asked for a token of another audience, which it does not get"


def prepare(principal: Principal) -> None:
    """Imports what gives tokens, so that no delivery waits for the import."""
    if not (principal.managed and managed_identity.endpoint()):
        import_module("azure.identity.aio")


def credential(
    principal: Principal, transport: AioHttpTransport, scope: str = STORAGE_SCOPE
) -> AsyncTokenCredential:
    """The credential of `principal` for `scope` alone. Its own requests go through `transport`."""
    source: TokenSource
    platform = managed_identity.endpoint() if principal.managed else None
    if platform:
        source = ManagedIdentity(platform, principal.client_id, transport)
    else:
        source = _from_package(principal, transport)
    # An SDK client calls `get_token` and nothing else.
    return cast("AsyncTokenCredential", SharedTokenCredential(source, scope))


def _from_package(principal: Principal, transport: AioHttpTransport) -> AsyncTokenCredential:
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    if principal.managed:
        return ManagedIdentityCredential(
            client_id=principal.client_id, transport=transport, user_agent=USER_AGENT
        )
    return DefaultAzureCredential(
        transport=transport,
        user_agent=USER_AGENT,
        **({"managed_identity_client_id": principal.client_id} if principal.client_id else {}),
    )


class TokenSource(Protocol):
    """Requests tokens from the platform."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for `scopes`. May raise anything."""


class SharedTokenCredential:
    """Keeps the token, and shares one request for a token among all that wait for it.

    The request continues when the delivery that started it gives up. Otherwise a platform that
    needs longer than one attempt to send could never respond. While a token is renewed, the old one
    is used as long as it is valid.

    A server that refuses a token can name another audience, tenant or claims in its response, and
    the SDKs then ask for such a token. This credential has tokens for its own scope alone.
    """

    def __init__(self, source: TokenSource, scope: str) -> None:
        self._source = source
        self._scope = scope
        self._running: asyncio.Task[AccessToken] | None = None
        self._token: AccessToken | None = None
        self._renew_at = 0.0
        self._logged_at = float(-_LOG_INTERVAL_SECONDS)

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the scope of this credential. Raises TokenUnavailable or AudienceRefused."""
        if scopes != (self._scope,):
            raise AudienceRefused
        token, now = self._token, time.time()
        if token and now < self._renew_at:
            return token
        running = self._running
        if running is None or running.done():
            running = self._running = asyncio.create_task(self._request())
            running.add_done_callback(lambda task: task.cancelled() or task.exception())
        if token is None or token.expires_on - now < _LEAST_VALIDITY_SECONDS:
            return await asyncio.shield(running)
        await asyncio.wait([running], timeout=_RENEWAL_WAIT_SECONDS)
        return running.result() if running.done() and not running.exception() else token

    async def _request(self) -> AccessToken:
        try:
            with responses_up_to(SMALL_BYTES):
                async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                    token = await self._source.get_token(self._scope)
        except Exception as error:
            now = asyncio.get_running_loop().time()
            if now - self._logged_at >= _LOG_INTERVAL_SECONDS:
                self._logged_at = now
                reason = str(error).partition("\n")[0] or "no response in time"
                log.no_token({"error": type(error).__name__, "reason": reason})
            raise TokenUnavailable from error
        self._token = token
        self._renew_at = _renewal(time.time(), token.expires_on)
        return token


def _renewal(now: float, expires_on: int) -> float:
    """When to renew a token: at half of a long life, else five minutes before its end.

    azure-identity has the same rule.
    """
    left = expires_on - now
    return now + left / 2 if left >= _LONG_LIFE_SECONDS else expires_on - _RENEWAL_SECONDS
