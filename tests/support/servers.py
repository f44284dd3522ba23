"""The tests' own servers."""

import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.certificates import certificates
from tools.localhost.ports import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Forwards a request to the server that it was sent to.
Served = Callable[[], Awaitable[web.Response]]
Guard = Callable[[web.Request, Served], Awaitable[web.Response]]

_HOP_BY_HOP = {"Host", "Transfer-Encoding", "Content-Length", "Connection", "Keep-Alive"}


class Listen(Protocol):
    """Serves a handler until the test is over."""

    async def __call__(self, handler: Handler, *, tls: bool = False) -> int:
        """The port on which `handler` is served."""


def listener(stack: AsyncExitStack) -> Listen:
    """Serves each handler on a port of its own until `stack` is closed."""

    async def listen(handler: Handler, *, tls: bool = False) -> int:
        context = None
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates() / "cert.pem", certificates() / "key.pem")
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, auto_decompress=False, handler_cancellation=True)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        return port

    return listen


async def forward(request: web.Request, server: str) -> web.Response:
    """Forwards `request` to `server`, and returns its response."""
    kept = {name: v for name, v in request.headers.items() if name not in _HOP_BY_HOP}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(
            request.method, URL(f"{server}{request.raw_path}", encoded=True), headers=kept,
            data=await request.read(), ssl=False, skip_auto_headers=("Content-Type",),
        ) as response,
    ):  # fmt: skip
        kept = {name: v for name, v in response.headers.items() if name not in _HOP_BY_HOP}
        return web.Response(status=response.status, body=await response.read(), headers=kept)
