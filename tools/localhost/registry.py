"""A stand-in for a registry: it delivers to the app, and has the delivery log of one webhook.

It stands in front of the app. What is sent through it is delivered once, as the registry does, and
is in the log with the response. Azure's management API is HTTPS, so the log has a certificate.

https://learn.microsoft.com/rest/api/containerregistry/webhooks/list-events
"""

import asyncio
import json
import shlex
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from tools.localhost.function_app import ToolError

WEBHOOK = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers"
    "/Microsoft.ContainerRegistry/registries/myregistry/webhooks/local"
)
# A delivery to this path is in the log, and the app never gets it.
MISSED = "/missed"

# Reported: https://github.com/MicrosoftDocs/azure-docs/issues/54638
_RESPONSE_SECONDS = 5
_TIMED_OUT = 504
# Seen in recordings of the log.
_MOST_LOGGED_CHARS = 2366
_MOST_ENTRIES = 10_000
_PAGE_ENTRIES = 100
_MOST_BODY_BYTES = 1024 * 1024
_START_SECONDS = 20


class Registry:
    """The delivery log, the newest entry first, and the handlers that write and list it."""

    def __init__(self, function_url: str) -> None:
        self._function_url = function_url
        self._function_path = urlsplit(function_url).path
        self._entries: deque[dict[str, Any]] = deque(maxlen=_MOST_ENTRIES)

    async def front(self, request: web.Request) -> web.StreamResponse:
        """Passes a request on to the app. A delivery is in the log afterwards."""
        if request.path == "/msi/token":
            return _token(request)
        body = await request.read()
        if request.path == MISSED and request.method == "POST":
            return self._miss(request, body)
        url = f"{self._function_url.removesuffix(self._function_path)}{request.path_qs}"
        is_delivery = request.method == "POST" and request.path == self._function_path
        timeout = aiohttp.ClientTimeout(total=_RESPONSE_SECONDS)
        status, text = _TIMED_OUT, b"The app did not respond within five seconds."
        kind = "text/plain"
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    request.method, url, data=body, headers=_kept(request), allow_redirects=False
                ) as response,
            ):
                status, text, kind = response.status, await response.read(), response.content_type
        except (aiohttp.ClientError, TimeoutError):
            pass
        if is_delivery:
            self._log(request, body, status, text.decode(errors="replace"))
        return web.Response(status=status, body=text, content_type=kind)

    def _miss(self, request: web.Request, body: bytes) -> web.Response:
        """Logs a delivery that never arrives, as if it were two minutes old."""
        content = _parsed(body)
        if isinstance(content, dict):
            at = datetime.now(UTC) - timedelta(minutes=2)
            content["timestamp"] = at.isoformat().replace("+00:00", "Z")
            body = json.dumps(content).encode()
        self._log(request, body, None, "")
        return web.Response(status=_TIMED_OUT, text="It is in the delivery log, without response.")

    def _log(self, request: web.Request, body: bytes, status: int | None, text: str) -> None:
        entry: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "eventRequestMessage": {
                "content": _parsed(body),
                "headers": dict(request.headers),
                "method": "POST",
                "requestUri": f"{self._function_url}?{request.query_string}",
                "version": "1.1",
            },
        }
        if status is not None:
            entry["eventResponseMessage"] = {
                "content": text[:_MOST_LOGGED_CHARS],
                "headers": {},
                "reasonPhrase": "",
                "statusCode": str(status),
                "version": "1.1",
            }
        self._entries.appendleft(entry)

    async def management(self, request: web.Request) -> web.StreamResponse:
        """`listEvents` of the management API."""
        if request.path.lower() != f"{WEBHOOK}/listEvents".lower():
            return web.json_response({"error": {"code": "NotFound"}}, status=404)
        try:
            start = int(request.query.get("$skiptoken", "0"))
        except ValueError:
            return web.json_response({"error": {"code": "BadRequest"}}, status=400)
        entries = list(self._entries)
        document: dict[str, Any] = {"value": entries[start : start + _PAGE_ENTRIES]}
        if start + _PAGE_ENTRIES < len(entries):
            query = {**request.query, "$skiptoken": str(start + _PAGE_ENTRIES)}
            document["nextLink"] = str(request.url.with_query(query).with_scheme("https"))
        return web.json_response(document)


def _token(request: web.Request) -> web.Response:
    """A token, in the form that App Service gives it to an app. It opens nothing.

    https://learn.microsoft.com/azure/app-service/overview-managed-identity
    """
    resource = request.query.get("resource", "")
    token = {
        "access_token": "local",
        "expires_on": str(int(time.time()) + 3600),
        "token_type": "Bearer",
        "resource": resource,
    }
    return web.json_response(token)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _kept(request: web.Request) -> dict[str, str]:
    left_out = {"host", "content-length", "transfer-encoding", "connection"}
    return {name: v for name, v in request.headers.items() if name.lower() not in left_out}


@contextmanager
def registry(port: int, function_url: str, log_port: int, folder: Path) -> Iterator[None]:
    """Serves the stand-in on `port`, in front of the app, and its delivery log on `log_port`.

    Writes the certificate of its authority to `folder`. Raises ToolError where a port is in use.
    """
    # Only what asks for the stand-in needs this package.
    import trustme

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made = Registry(function_url)
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    failed: list[OSError] = []

    async def serve() -> None:
        runners = []
        try:
            for handler, at, tls in (
                (made.front, port, None),
                (made.management, log_port, context),
            ):
                app = web.Application(client_max_size=_MOST_BODY_BYTES)
                app.router.add_route("*", "/{path:.*}", handler)
                runner = web.AppRunner(app, access_log=None, auto_decompress=False)
                runners.append(runner)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", at, ssl_context=tls).start()
            started.set()
            await stop.wait()
        except OSError as error:
            failed.append(error)
            started.set()
        finally:
            for runner in runners:
                await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    started.wait(_START_SECONDS)
    try:
        if failed:
            raise ToolError(
                f"The stand-in cannot listen on port {port} ({failed[0].strerror}). "
                "Choose another one with PORT=…"
            )
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_START_SECONDS)
        loop.close()


def settings(port: int, log_port: int, folder: Path, storage: str) -> dict[str, str]:
    """The environment of the commands that work with the stand-in."""
    return {
        "AcrEventsStorage": storage,
        "ACR_WEBHOOKS": WEBHOOK,
        "AcrManagement__endpoint": f"https://127.0.0.1:{log_port}",
        "AcrManagement__credential": "managedidentity",
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{port}/msi/token",
        "IDENTITY_HEADER": "local",
        "SSL_CERT_FILE": str(folder / "ca.pem"),
    }


def write_settings(file: Path, values: dict[str, str]) -> None:
    """Writes `values` to `file`, for the shell to read."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    file.write_text("".join(lines))
