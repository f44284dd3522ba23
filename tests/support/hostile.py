"""Responses of endpoints that actively misbehave."""

import asyncio
import gzip
from functools import cache

from aiohttp import web

from tests.support.servers import Handler

XML = "application/xml"

_ENTITIES = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefg", "bcdefgh", strict=True))
    + "]><a>&h;</a>"
).encode()


@cache
def _bomb() -> bytes:
    """300 MB of XML, as gzip."""
    return gzip.compress(b"<a>" + b" " * 300_000_000 + b"</a>", 1)


def responds(
    status: int, body: bytes = b"", kind: str = XML, headers: dict[str, str] | None = None
) -> Handler:
    """Responds with `body` to every request."""

    async def respond(request: web.Request) -> web.Response:
        await request.read()
        own = {"Content-Type": kind, **(headers or {})}
        return web.Response(status=status, body=body, headers=own)

    return respond


def redirects(status: int, port: int) -> Handler:
    """Redirects every request to another server."""

    async def respond(request: web.Request) -> web.Response:
        location = f"{request.scheme}://127.0.0.1:{port}{request.raw_path}"
        return web.Response(status=status, headers={"Location": location})

    return respond


def gzip_bomb(status: int, kind: str = XML) -> Handler:
    """A compressed response of 300 MB."""
    return responds(status, _bomb(), kind, {"Content-Encoding": "gzip"})


def entities(status: int, kind: str = XML) -> Handler:
    """XML of some hundred bytes whose entities stand for a gigabyte."""
    return responds(status, _ENTITIES, kind)


def elements(status: int, kind: str = XML) -> Handler:
    """XML with a million elements."""
    return responds(status, b"<a>" + b"<a/>" * 1_000_000 + b"</a>", kind)


def attributes(status: int, kind: str = XML) -> Handler:
    """XML within the limit of a peek, in the form that takes a parser the most memory."""
    names = " ".join(f"a{number}=''" for number in range(260_000))
    return responds(status, f"<a {names}/>".encode(), kind)


def endless(status: int, kind: str = XML) -> Handler:
    """A response without an end, in chunks."""

    async def respond(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(status=status, headers={"Content-Type": kind})
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(b"<a>" + b" " * 100_000)
            await asyncio.sleep(0)

    return respond


KINDS = {
    "gzip bomb": gzip_bomb,
    "entities": entities,
    "elements": elements,
    "attributes": attributes,
    "endless": endless,
}
