"""Tokens for an identity, in the place of an account's key."""

import asyncio
import logging
from typing import Any, cast

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AioHttpTransport

from shared.connections import Identity

# Seconds until a request for a token is given up; longer than any delivery waits.
_PATIENCE = 10

_LOG = logging.getLogger("acr_webhook")


class TokenUnavailable(Exception):
    """Nobody gave a token for the identity; the reason is in the log."""


def credential(identity: Identity, transport: AioHttpTransport) -> AsyncTokenCredential:
    """The credential of `identity`, whose own requests go through `transport`."""
    # Takes as long to import as the queues: only apps that have an identity shall pay for it.
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    asked: AsyncTokenCredential
    if identity.managed:
        asked = ManagedIdentityCredential(client_id=identity.client_id, transport=transport)
    else:
        asked = DefaultAzureCredential(
            transport=transport,
            **({"managed_identity_client_id": identity.client_id} if identity.client_id else {}),
        )
    # A pipeline asks a credential for tokens, and for nothing else.
    return cast("AsyncTokenCredential", _Patient(asked))


class _Patient:
    """Goes on asking for a token when the delivery that began to ask has given up.

    Otherwise a platform that takes longer than one attempt to send would never come to give it.
    """

    def __init__(self, asked: AsyncTokenCredential) -> None:
        self._asked = asked
        self._asking: asyncio.Task[AccessToken] | None = None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for `scopes`. Raises TokenUnavailable."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(*scopes, **options))
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._asking)

    async def _ask(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._asked.get_token(*scopes, **options)
        except Exception as error:
            reason = str(error).partition("\n")[0] or "no answer in time"
            _LOG.error("acr_identity %s: %s", type(error).__name__, reason)
            raise TokenUnavailable from error
