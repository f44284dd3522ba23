"""A test double of Azure's management API, and of a registry with a delivery log."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from tests.support.servers import Guard, Handler

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
# What users report of the registry (docs/decisions/0001-time-budget.md, shared/core/responses.py).
TIMEOUT_SECONDS = 5
MAX_LOGGED_CHARS = 4096
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
    """The beginning of the app's response to a delivery that it rejects."""
    return f'{{"type": "https://acr-webhook.example/problems/{reason}", "status": {status}, "det'


@dataclass
class DeliveryLog:
    """The delivery log of one webhook, the newest entry first, and how `listEvents` returns it."""

    entries: list[Any] = field(default_factory=list)
    page: int = 100
    fails: Handler | None = None  # responds instead of the log
    asked: int = 0


@dataclass
class Registry:
    """Delivers like the registry, once and with its timeout, and writes the delivery log."""

    port: int = 0
    logs: dict[str, DeliveryLog] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, webhook: str) -> DeliveryLog:
        return self.logs.setdefault(webhook.lower(), DeliveryLog())

    def entry(
        self,
        content: object,
        status: str | None = "503",
        response_body: str = "",
        uri: object = "https://app.example/api/AcrWebhook?registry=myregistry.azurecr.io",
        **more: object,
    ) -> dict[str, Any]:
        """An entry of the delivery log; without `status`, it has no response."""
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
                "content": response_body,
                "headers": {"Content-Length": str(len(response_body))},
                "reasonPhrase": "",
                "statusCode": status,
                "version": "1.1",
            }
        return entry

    async def deliver(self, url: str, content: dict[str, Any], webhook: str) -> None:
        """Delivers once to `url`, and logs the response if there is one."""
        status, response_body = None, ""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, json=content) as response,
            ):
                status = str(response.status)
                response_body = (await response.text())[:MAX_LOGGED_CHARS]
        except (aiohttp.ClientError, TimeoutError):
            pass
        self[webhook].entries.insert(0, self.entry(content, status, response_body, url))

    async def list_events(self, request: web.Request) -> web.StreamResponse:
        """`listEvents` of the management API; further pages are fetched with GET."""
        path, _, operation = request.path.rpartition("/")
        assert operation == "listEvents"
        assert request.headers["Authorization"] == "Bearer token-for-management"
        log = self[path]
        log.asked += 1
        if log.fails:
            return await log.fails(request)
        start = int(request.query.get("$skiptoken", "0"))
        assert request.method == ("GET" if start else "POST")
        document: dict[str, Any] = {"value": log.entries[start : start + log.page]}
        if start + log.page < len(log.entries):
            document["nextLink"] = (
                f"https://127.0.0.1:{self.port}{request.path}"
                f"?api-version=x&$skiptoken={start + log.page}"
            )
        return web.json_response(document)

    async def token(self, request: web.Request) -> web.Response:
        """A token for the management API, in the form that App Service gives it to an app."""
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
    """How `reconcile` ended: its exit status, its output, and its entries by outcome."""

    status: int
    output: str
    counts: dict[str, int]


class Reconcile(Protocol):
    """Runs `python -m tools reconcile` until it ends."""

    async def __call__(self, *arguments: str, patch: str = "", **settings: str) -> Report:
        """Returns how it ended. `patch` is Python source that runs before it."""


# Puts a guard in front of the account. Returns the connection string that leads through it.
PutInFront = Callable[[Guard], Awaitable[str]]
