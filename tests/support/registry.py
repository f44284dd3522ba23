"""A stand-in for Azure's management API, and for a registry that records its deliveries."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from tests.support.servers import Guard, Handler

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
KEY = "function-key-that-nobody-may-see"


def webhook_id(registry: str = "myregistry", webhook: str = "events") -> str:
    """A webhook's resource id."""
    return (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/images/providers"
        f"/Microsoft.ContainerRegistry/registries/{registry}/webhooks/{webhook}"
    )


EVENTS = webhook_id()
CONTOSO_EVENTS = webhook_id("contoso")


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
        content: object,
        status: str | None = "503",
        answer: str = "",
        uri: object = "https://app.example/api/AcrWebhook?registry=myregistry.azurecr.io",
        **more: object,
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


@dataclass(frozen=True)
class Report:
    """How `reconcile` ended: its exit status, its output, and entries by what became of them."""

    status: int
    output: str
    counts: dict[str, int]


class Reconcile(Protocol):
    """Runs `python -m tools reconcile` to its end."""

    async def __call__(self, *arguments: str, patch: str = "", **settings: str) -> Report:
        """How it ended. `patch` is Python source that runs before it."""


# Puts a guard in front of the account. Gives the connection string by which to pass it.
PutInFront = Callable[[Guard], Awaitable[str]]
