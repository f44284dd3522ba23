"""Tokens for an identity, in the place of an account's key."""

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

# Seconds until a request for a token is given up; longer than any delivery waits.
_PATIENCE = 10

# Seconds: of validity that a token must have left to serve while it is renewed, that a delivery
# waits for the new one then, and between two reasons in the log.
_STILL_GOOD = 60
_RENEWAL = 0.2
_SILENCE = 10

# It writes a page for each failure; the reason is in our own log.
logging.getLogger("azure.identity").setLevel(logging.CRITICAL)

_LOG = logging.getLogger("acr_webhook")


class TokenUnavailable(ClientAuthenticationError):
    """Nobody gives a token for the identity; the reason is in the log."""

    def __init__(self) -> None:
        super().__init__("nobody gives the app a token for its identity")


def prepare() -> None:
    """Imports what asks for tokens: for apps with an identity, at their start."""
    import_module("azure.identity.aio")


def credential(principal: Principal, transport: AioHttpTransport) -> AsyncTokenCredential:
    """The credential of `principal`, whose own requests go through `transport`."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    asked: AsyncTokenCredential
    if principal.managed:
        asked = ManagedIdentityCredential(
            client_id=principal.client_id, transport=transport, user_agent=USER_AGENT
        )
    else:
        asked = DefaultAzureCredential(
            transport=transport,
            user_agent=USER_AGENT,
            **({"managed_identity_client_id": principal.client_id} if principal.client_id else {}),
        )
    # A pipeline asks a credential for tokens, and for nothing else.
    return cast("AsyncTokenCredential", _Patient(asked))


class _Patient:
    """Goes on asking for a token when the delivery that began to ask has given up.

    Otherwise a platform that takes longer than one attempt to send would never come to give it.
    While a token is renewed, the one before serves as long as it is valid.
    """

    def __init__(self, asked: AsyncTokenCredential) -> None:
        self._asked = asked
        self._asking: dict[str, asyncio.Task[AccessToken]] = {}
        self._last: dict[str, AccessToken] = {}
        self._logged_at = float(-_SILENCE)

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for `scopes`. Raises TokenUnavailable."""
        kind = repr((scopes, sorted(options.items())))
        asking = self._asking.get(kind)
        if asking is None or asking.done():
            asking = asyncio.create_task(self._ask(kind, *scopes, **options))
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._asking[kind] = asking
        last = self._last.get(kind)
        if last is None or last.expires_on - time.time() < _STILL_GOOD:
            return await asyncio.shield(asking)
        await asyncio.wait([asking], timeout=_RENEWAL)
        return asking.result() if asking.done() and not asking.exception() else last

    async def _ask(self, kind: str, *scopes: str, **options: Any) -> AccessToken:
        try:
            async with asyncio.timeout(_PATIENCE):
                token = await self._asked.get_token(*scopes, **options)
        except Exception as error:
            now = asyncio.get_running_loop().time()
            if now - self._logged_at >= _SILENCE:
                self._logged_at = now
                reason = str(error).partition("\n")[0] or "no answer in time"
                _LOG.error("acr_identity %s: %s", type(error).__name__, reason)
            raise TokenUnavailable from error
        self._last[kind] = token
        return token
