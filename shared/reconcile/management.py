"""The registry's delivery log, from Azure's management API."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient

from shared.core.webhooks import Webhook
from shared.storage.connections import Principal
from shared.storage.credentials import TokenUnavailable, credential
from shared.storage.transport import USER_AGENT, transport

# https://learn.microsoft.com/azure/container-registry/container-registry-rbac-custom-roles
ACTION = "Microsoft.ContainerRegistry/registries/webhooks/listEvents/action"

# For one page of the delivery log.
_PAGE_SECONDS = 30


class DeliveryLogUnavailable(Exception):
    """The delivery log of a webhook cannot be read. The message says why and what to do."""


class Management:
    """The management API at `endpoint`, called as `principal` through `session`."""

    def __init__(self, endpoint: str, principal: Principal, session: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._session = session
        self._credential = credential(principal, transport(session))

    async def pages(self, webhook: Webhook) -> AsyncGenerator[list[Any]]:
        """The entries of the delivery log of `webhook`, a page at a time, unchanged.

        Raises DeliveryLogUnavailable.
        """
        async with self._client(webhook.subscription) as client:
            pages = client.webhooks.list_events(
                webhook.resource_group, webhook.registry, webhook.name
            ).by_page()
            while True:
                try:
                    async with asyncio.timeout(_PAGE_SECONDS):
                        page = [_plain(entry) async for entry in await anext(pages)]
                except StopAsyncIteration:
                    return
                except DeliveryLogUnavailable:
                    raise
                except Exception as error:
                    # On unusual responses the SDK raises anything.
                    raise DeliveryLogUnavailable(_reason(error)) from error
                yield page

    def _client(
        self, subscription: str
    ) -> AbstractAsyncContextManager[ContainerRegistryManagementClient]:
        return ContainerRegistryManagementClient(
            self._credential,
            subscription,
            self._endpoint,
            credential_scopes=[f"{self._endpoint}/.default"],
            transport=transport(self._session),
            user_agent=USER_AGENT,
            # A response with an error is not retried: the next run reads the log again.
            retry_status=0,
            retry_total=2,
            per_call_policies=[SameOrigin(self._endpoint)],
        )


def _plain(entry: Any) -> Any:
    """An entry without the SDK's types. Of an entry too deep for them, its id."""
    if not hasattr(entry, "as_dict"):
        return entry
    try:
        return entry.as_dict()
    except RecursionError:
        return {"id": entry.get("id")}


class SameOrigin(SansIOHTTPPolicy[Any, Any]):
    """Follows a link to the next page on the same server only: the request carries our token."""

    def __init__(self, endpoint: str) -> None:
        self._origin = _origin(endpoint)

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Raises DeliveryLogUnavailable."""
        if _origin(request.http_request.url) != self._origin:
            raise DeliveryLogUnavailable(
                "the link to its next page leads to another server and was not followed"
            )


def _origin(url: str) -> tuple[str, str | None, int]:
    """Scheme, host and port. Some Azure services write the port in their links, others do not."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


def _reason(error: Exception) -> str:
    if isinstance(error, TokenUnavailable):
        return (
            "could not get an access token for the management API: give the app an identity, and "
            "name it in AcrManagement__credential and AcrManagement__clientId"
        )
    if isinstance(error, TimeoutError):
        return f"no response within {_PAGE_SECONDS} seconds: the next run tries again"
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None or status < 300:
        return f"the response cannot be read or did not come ({type(error).__name__})"
    match status:
        case 401 | 403:
            return (
                f"{status}: the app's identity may not read the delivery log: give it a role "
                f"with the action {ACTION} on the registry"
            )
        case 404:
            return "404: there is no such webhook: correct its resource id in ACR_WEBHOOKS"
        case 429:
            wait = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
            seconds = f" for {wait} seconds" if wait.isdigit() else ""
            return f"429: too many requests{seconds}: the next run tries again"
    if status < 500:
        return f"{status}: the management API refuses the request"
    return f"{status}: the next run tries again"
