"""A stand-in for Azure's management API, and for a registry that keeps record of its deliveries."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.data.tables.aio import TableServiceClient

from tools import examples, processes

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
KEY = "function-key-that-nobody-may-see"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Is handed a request, and what has it served by who it was meant for.
Guard = Callable[[web.Request, Callable[[], Awaitable[web.Response]]], Awaitable[web.Response]]


def webhook_id(registry: str = "myregistry", webhook: str = "events") -> str:
    """A webhook's resource id."""
    return (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/images/providers"
        f"/Microsoft.ContainerRegistry/registries/{registry}/webhooks/{webhook}"
    )


def refusal(reason: str, status: int) -> str:
    """The beginning of what the app answers to what it refuses."""
    return f'{{"type": "https://acr-webhook.example/problems/{reason}", "status": {status}, "det'


@dataclass
class Record:
    """What the registry recorded of one webhook, the newest first, and how it gives it out."""

    entries: list[Any] = field(default_factory=list)
    page: int = 100
    fails: Handler | None = None  # answers in its place
    asked: int = 0


@dataclass
class Registry:
    """Delivers like the registry, once and with five seconds of patience, and keeps record."""

    port: int = 0
    records: dict[str, Record] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, webhook: str) -> Record:
        return self.records.setdefault(webhook.lower(), Record())

    def entry(
        self,
        content: Any,
        status: str | None = "503",
        answer: str = "",
        uri: str = "https://app.example/api/AcrWebhook?registry=myregistry.azurecr.io",
        **more: Any,
    ) -> dict[str, Any]:
        """An entry in the recorded form; without `status`, nobody answered."""
        entry: dict[str, Any] = {
            "id": f"entry-{time.monotonic_ns()}",
            "eventRequestMessage": {
                "content": content,
                "headers": {"Content-Type": "application/json", "x-functions-key": KEY},
                "method": "POST",
                "requestUri": uri,
                "version": "1.1",
            },
            **more,
        }
        if status is not None:
            entry["eventResponseMessage"] = {
                "content": answer,
                "headers": {"Content-Length": str(len(answer))},
                "reasonPhrase": "",
                "statusCode": status,
                "version": "1.1",
            }
        return entry

    async def deliver(self, url: str, content: dict[str, Any], webhook: str) -> None:
        """One delivery to `url`, recorded with its answer, if there is one."""
        status, answer = None, ""
        wait = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=wait) as session,
                session.post(url, json=content) as response,
            ):
                status, answer = str(response.status), (await response.text())[:4096]
        except (aiohttp.ClientError, TimeoutError):
            pass
        self[webhook].entries.insert(0, self.entry(content, status, answer, url))

    async def list_events(self, request: web.Request) -> web.StreamResponse:
        """`listEvents` of the management API; further pages are fetched with GET."""
        path, _, operation = request.path.rpartition("/")
        assert operation == "listEvents"
        assert request.headers["Authorization"] == "Bearer token-for-management"
        record = self[path]
        record.asked += 1
        if record.fails:
            return await record.fails(request)
        start = int(request.query.get("$skiptoken", "0"))
        assert request.method == ("GET" if start else "POST")
        document: dict[str, Any] = {"value": record.entries[start : start + record.page]}
        if start + record.page < len(record.entries):
            document["nextLink"] = (
                f"https://127.0.0.1:{self.port}{request.path}"
                f"?api-version=x&$skiptoken={start + record.page}"
            )
        return web.json_response(document)

    async def token(self, request: web.Request) -> web.Response:
        """Tokens for the management API, as App Service gives them to an app."""
        assert request.query["resource"] == f"https://127.0.0.1:{self.port}"
        token = {
            "access_token": "token-for-management",
            "expires_on": str(int(time.time()) + 3600),
            "token_type": "Bearer",
            "resource": request.query["resource"],
        }
        return web.json_response(token)


@pytest.fixture
async def registry(azurite: str, storage: Any, certificates: Path, listen: Any) -> Registry:
    """The stand-in, with an account without queues, and nothing recovered yet."""
    registry = Registry()
    registry.port = await listen(registry.list_events, tls=True)
    registry.settings = {
        "AcrEventsStorage": azurite,
        "ACR_REGISTRIES": "",
        "ACR_WEBHOOKS": webhook_id(),
        "AcrManagement__endpoint": f"https://127.0.0.1:{registry.port}",
        "AcrManagement__credential": "managedidentity",
        "AcrReconcileSchedule": "0 0 0 1 1 *",
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{await listen(registry.token)}/msi/token",
        "IDENTITY_HEADER": "the-platform-s-own",
        "SSL_CERT_FILE": str(certificates / "ca.pem"),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    tables = TableServiceClient.from_connection_string(azurite)
    async with tables:
        async for table in tables.list_tables():
            await tables.delete_table(table.name)
    return registry


@pytest.fixture
def guarded(azurite: str, listen: Any, hand_on: Any) -> Callable[[Guard], Awaitable[str]]:
    """Puts a guard in front of the account; gives the connection string by which to pass it."""

    async def behind(guard: Guard) -> str:
        connection = azurite
        for port in set(re.findall(r"Endpoint=http://127.0.0.1:(\d+)/", azurite)):

            async def handle(request: web.Request, port: str = port) -> web.Response:
                return await guard(request, lambda: hand_on(request, f"http://127.0.0.1:{port}"))

            connection = connection.replace(f":{port}/", f":{await listen(handle)}/")
        return connection

    return behind


@dataclass(frozen=True)
class Result:
    """How the tool ended, and what it said."""

    status: int
    output: str
    counts: dict[str, int]


# What the tool runs as, with something in it changed beforehand.
_PATCHED = "import runpy, sys\n{patch}\nsys.argv[0] = 'tools'\nfrom tools.cli import app\napp()"

Reconcile = Callable[..., Awaitable[Result]]


@pytest.fixture
def reconcile(registry: Registry) -> Reconcile:
    """`python -m tools reconcile`, to its end."""

    async def run(*arguments: str, patch: str = "", **settings: str) -> Result:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PATCHED.format(patch=patch), "reconcile", *arguments,
            cwd=processes.ROOT, env={**os.environ, **registry.settings, **settings},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 120)
        text = output.decode()
        assert "Traceback" not in text, text
        assert KEY not in text
        cells = [[part.strip() for part in line.split("│")] for line in text.splitlines()]
        counts: dict[str, int] = {}
        for row in cells:
            if len(row) == 5 and row[3].isdigit():
                counts[row[2]] = counts.get(row[2], 0) + int(row[3])
        assert process.returncode is not None
        return Result(process.returncode, text, counts)

    return run


@pytest.fixture
def push() -> Callable[..., dict[str, Any]]:
    """Makes deliveries of an hour ago, each under an id of its own."""

    def make(action: str = "push", age: timedelta = timedelta(hours=1)) -> dict[str, Any]:
        moment = (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")
        return {**examples.anew(examples.documented(action)), "timestamp": moment}

    return make
