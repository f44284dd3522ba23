"""HTTP triggers: requests to functions, in the form of the Functions host."""

import re
import secrets
from collections.abc import Iterable

from aiohttp import web
from azure_functions_runtime_v1.bindings.datumdef import Datum

from tools.localhost.functions import HttpFunction, invoke

# https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#limits
_MAX_BODY_BYTES = 100 * 1024 * 1024

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def web_app(functions: Iterable[HttpFunction]) -> web.Application:
    """An aiohttp application that calls `functions` with requests."""
    # As in Azure (seen), routes match without regard to case, and a wrong method gets 404.
    routes = {
        (method, function.path.lower()): function
        for function in functions
        for method in function.methods
    }

    async def serve(request: web.Request) -> web.StreamResponse:
        function = routes.get((request.method, request.path.rstrip("/").lower()))
        if function is None:
            return web.Response(status=404)
        return await _respond(function, request)

    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", serve)
    return app


async def _respond(function: HttpFunction, request: web.Request) -> web.Response:
    def text(value: str) -> Datum:
        return Datum(value, "string")

    http = {
        "method": text(request.method),
        "url": text(str(request.url)),
        "headers": {
            name.lower(): text(",".join(request.headers.getall(name))) for name in request.headers
        },
        "query": {name: text(",".join(request.query.getall(name))) for name in request.query},
        "params": {},
        "body": Datum(await request.read(), "bytes"),
    }
    ok, result = await invoke(
        function,
        Datum(http, "http"),
        {},
        trace_parent=_trace_parent(request.headers.get("traceparent", "")),
        trace_state=request.headers.get("tracestate", ""),
    )
    if not ok or result is None:
        return web.Response(status=500)
    if result.type != "http":
        return web.Response(text=str(result.value))
    return web.Response(
        status=int(result.value["status_code"].value),
        headers={name: value.value for name, value in result.value["headers"].items()},
        body=result.value["body"].value,
    )


def _trace_parent(header: str) -> str:
    """As on the platform: the trace of the caller, or a new one."""
    if _TRACEPARENT.fullmatch(header):
        return header
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
