"""The HTTP transport of every SDK client."""

from urllib.request import getproxies

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport

from shared import __version__

# For the logs of Azure's services. The SDKs put it before their own names.
# https://azure.github.io/azure-sdk/general_azurecore.html#telemetry-policy
USER_AGENT = f"acr-webhook/{__version__}"

# For requests that have no deadline of their own.
_CONNECT_TIMEOUT_SECONDS = 2
_READ_TIMEOUT_SECONDS = 10


def session() -> aiohttp.ClientSession:
    """A session for all clients of an account. Make it on the event loop that will use it."""
    # Looking up proxies and .netrc on each request costs more than the request itself. No limit
    # of connections: sends that stall on one queue must not keep the others waiting.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=bool(getproxies().keys() - {"no"}),
    )


def transport(session: aiohttp.ClientSession, *, closes_session: bool = False) -> AioHttpTransport:
    """The transport of a client. With `closes_session` the session ends with the client."""
    return AioHttpTransport(
        session=session,
        session_owner=closes_session,
        connection_timeout=_CONNECT_TIMEOUT_SECONDS,
        read_timeout=_READ_TIMEOUT_SECONDS,
    )
