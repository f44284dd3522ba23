"""The HTTP transport of every client: queues, tables, tokens, and the management API.

Its session has the bounds of all responses, so that a client that is built on it cannot leave them
out. A response is refused before it is decoded or parsed where it is a redirect, is compressed, is
too long, declares a document type, or has too many parts.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Self
from urllib.request import getproxies

import aiohttp
from aiohttp.connector import Connection
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport

from shared import __version__

# For the logs of Azure's services. The SDKs put it before their own names.
# https://azure.github.io/azure-sdk/general_azurecore.html#telemetry-policy
USER_AGENT = f"acr-webhook/{__version__}"

# For requests that have no deadline of their own.
_CONNECT_TIMEOUT_SECONDS = 2
_READ_TIMEOUT_SECONDS = 10

# Limits of a response, in bytes. The first is for putting a message, creating, properties, and
# tokens: their responses have less than 4 KiB.
SMALL_BYTES = 64 * 1024
# For peeking at or taking 32 messages: 2.1 MB where each has the largest size (measured).
MESSAGES_BYTES = 3 * 1024 * 1024
# For a page of a table, 1,000 rows, or of the list of queues, 5,000 names.
# https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination
# https://learn.microsoft.com/rest/api/storageservices/list-queues1
PAGE_BYTES = 4 * 1024 * 1024
# For a page of the delivery log. An entry has 1.6 KB (seen), so this is 5,000 of them.
LOG_PAGE_BYTES = 8 * 1024 * 1024

# XML tags, or JSON objects and arrays. A parser needs far more memory for a small one than it has
# bytes. The page of 5,000 queues has some 20,000 tags.
MOST_PARTS = 50_000

# A byte order mark and space may come before the first tag.
_XML = re.compile(rb"[\xef\xbb\xbf \t\r\n]*<")

# Those in which the first 128 characters are the bytes of ASCII: a tag in another one goes unseen.
_CHARSET = re.compile(r';\s*charset="?(utf-8|us-ascii|iso-8859-1)"?\s*(;|$)')

# It quotes the names of cookies, which no client here uses.
logging.getLogger("aiohttp.internal").setLevel(logging.ERROR)

_limit: ContextVar[int] = ContextVar("limit", default=SMALL_BYTES)


class ResponseRefused(AzureError):
    """The response of a server was not read. `status` is its status; the message says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"its response {status} {why}")
        self.status = status


@contextmanager
def responses_up_to(limit: int) -> Iterator[None]:
    """Responses that are read in this context may have `limit` bytes, and not SMALL_BYTES."""
    before = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(before)


class BoundedResponse(aiohttp.ClientResponse):
    """A response within the bounds. `start` and `read` raise ResponseRefused."""

    async def start(self, connection: Connection) -> Self:
        """Reads the status and the headers."""
        await super().start(connection)
        if not (200 <= self.status < 300 or self.status >= 400):
            raise ResponseRefused(self.status, "is a redirect, which is not followed")
        if self.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise ResponseRefused(self.status, "is compressed, which nobody asked for")
        kind = ", ".join(self.headers.getall("Content-Type", ())).lower()
        if "charset" in kind and not (kind.count("charset") == 1 and _CHARSET.search(kind)):
            raise ResponseRefused(self.status, "is in a charset that the services do not use")
        return self

    async def read(self) -> bytes:
        """The whole body."""
        if self._body is None:
            try:
                self._body = await self._bounded()
            except BaseException:
                self.close()
                raise
        return await super().read()

    async def _bounded(self) -> bytes:
        limit = _limit.get()
        body = bytearray()
        while piece := await self.content.read(limit + 1 - len(body)):
            body += piece
            if len(body) > limit:
                raise ResponseRefused(self.status, f"has more than {limit:,} bytes")
        self._require_simple(body, limit)
        return bytes(body)

    def _require_simple(self, body: bytearray, limit: int) -> None:
        is_xml = _XML.match(body) is not None
        if is_xml and b"<!DOCTYPE" in body:
            # An entity can stand for gigabytes. The services declare none.
            raise ResponseRefused(self.status, "declares a document type")
        parts = body.count(b"<") if is_xml else body.count(b"{") + body.count(b"[")
        # The pages of the delivery log are parsed entry by entry.
        if parts > MOST_PARTS and limit < LOG_PAGE_BYTES:
            raise ResponseRefused(self.status, f"has more than {MOST_PARTS:,} parts")


def session() -> aiohttp.ClientSession:
    """A session for all clients of an account. Make it on the event loop that will use it."""
    # Looking up proxies and .netrc on each request costs more than the request itself. No limit
    # of connections: sends that stall on one queue must not keep the others waiting.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        response_class=BoundedResponse,
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
