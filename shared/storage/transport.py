"""HTTP as the SDKs speak it here."""

from urllib.request import getproxies

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport

from shared import __version__

# Who asks, for the logs of Azure's services: the SDKs put it before their own names.
# https://azure.github.io/azure-sdk/general_azurecore.html#telemetry-policy
USER_AGENT = f"acr-webhook/{__version__}"

# Seconds; for what is not under a deadline of its own.
_CONNECT = 2
_READ = 10


def session() -> aiohttp.ClientSession:
    """A session for all of an account's clients, to be made on the event loop that will use it."""
    # Looking up proxies and .netrc on each request costs more than the request itself. No limit
    # of connections: sends that stall on one queue must not keep the others waiting.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=bool(getproxies().keys() - {"no"}),
    )


def transport(session: aiohttp.ClientSession, *, closes_it: bool = False) -> AioHttpTransport:
    """What a client sends by; with `closes_it` the session ends with the client."""
    return AioHttpTransport(
        session=session,
        session_owner=closes_it,
        connection_timeout=_CONNECT,
        read_timeout=_READ,
    )
