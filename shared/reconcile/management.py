"""The registry's delivery log, from Azure's management API."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from azure.core.rest import HttpRequest
from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient

from shared.core.webhooks import Webhook
from shared.reconcile.page import DeliveryLogUnavailable, Page
from shared.storage.connections import Principal
from shared.storage.credentials import AudienceRefused, TokenUnavailable, credential
from shared.storage.transport import (
    LOG_PAGE_BYTES,
    SMALL_BYTES,
    USER_AGENT,
    ResponseRefused,
    responses_up_to,
    transport,
)

# https://learn.microsoft.com/azure/container-registry/container-registry-rbac-custom-roles
ACTION = "Microsoft.ContainerRegistry/registries/webhooks/listEvents/action"

# For one page of the delivery log.
_PAGE_SECONDS = 30
# Of one delivery log: a million entries, if a page has 100.
_MOST_PAGES = 10_000

# That of the SDK. https://learn.microsoft.com/rest/api/containerregistry/webhooks/list-events
_VERSION = {"api-version": "2025-11-01"}

# What an operator can do about a response that the management API itself would not give.
_CHECK = (
    ": check what responds at AcrManagement__endpoint. Until then, what the fallback log has can "
    "be restored (docs/recovery.md)"
)

_SECONDS = re.compile("[0-9]{1,6}")


class Management:
    """The management API at `endpoint`, called as `principal` through `session`."""

    def __init__(self, endpoint: str, principal: Principal, session: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._session = session
        self._scope = f"{self._endpoint}/.default"
        self._credential = credential(principal, transport(session), self._scope)

    async def pages(self, webhook: Webhook) -> AsyncGenerator[Page]:
        """The pages of the delivery log of `webhook`. Iterate over each before the next.

        Raises DeliveryLogUnavailable.
        """
        request = HttpRequest("POST", f"{webhook.id}/listEvents", params=_VERSION)
        # Their digests: a link can be long.
        followed: set[bytes] = set()
        async with self._client(webhook.subscription) as client:
            while True:
                page = Page(await self._body(client, request))
                yield page
                if page.next_link is None:
                    return
                digest = hashlib.sha256(page.next_link.encode(errors="replace")).digest()
                if digest in followed:
                    raise DeliveryLogUnavailable(f"a link to its next page repeats{_CHECK}")
                followed.add(digest)
                if len(followed) > _MOST_PAGES:
                    raise DeliveryLogUnavailable(f"it has more than {_MOST_PAGES:,} pages{_CHECK}")
                request = HttpRequest("GET", self.on_same_server(page.next_link))

    def on_same_server(self, link: str) -> str:
        """The URL that `link` names on the server of this API: the request carries our token.

        Raises DeliveryLogUnavailable where it leads elsewhere.
        """
        if _origin(link) != _origin(self._endpoint):
            raise DeliveryLogUnavailable(
                "the link to its next page leads to another server and was not followed"
            )
        parts = urlsplit(link)
        return urlunsplit(urlsplit(self._endpoint)._replace(path=parts.path, query=parts.query))

    async def _body(self, client: ContainerRegistryManagementClient, request: HttpRequest) -> bytes:
        """The body of the response, unparsed: the SDK would parse all of it at once."""
        try:
            async with asyncio.timeout(_PAGE_SECONDS):
                response = await client.send_request(request, stream=True)
                with responses_up_to(
                    LOG_PAGE_BYTES if response.status_code == 200 else SMALL_BYTES
                ):
                    body = await response.read()
        except Exception as error:
            # On unusual responses the SDK raises anything.
            raise DeliveryLogUnavailable(_reason(error)) from error
        if response.status_code != 200:
            wait = response.headers.get("Retry-After", "")
            raise DeliveryLogUnavailable(_status_reason(response.status_code, wait))
        return body

    def _client(
        self, subscription: str
    ) -> AbstractAsyncContextManager[ContainerRegistryManagementClient]:
        return ContainerRegistryManagementClient(
            self._credential,
            subscription,
            self._endpoint,
            credential_scopes=[self._scope],
            transport=transport(self._session),
            user_agent=USER_AGENT,
            # A response with an error is not retried: the next run reads the log again.
            retry_status=0,
            retry_total=2,
        )


def _origin(url: str) -> tuple[str, str | None, int] | None:
    """Scheme, host and port. Some Azure services write the port in their links, others do not."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or 443
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, AudienceRefused):
        return f"{error}{_CHECK}"
    if isinstance(error, TokenUnavailable):
        return (
            "could not get an access token for the management API: on a developer's machine run "
            "`az login`; in Azure give the app an identity, and name it in "
            "AcrManagement__credential and AcrManagement__clientId"
        )
    if isinstance(error, TimeoutError):
        return f"no response within {_PAGE_SECONDS} seconds: the next run tries again"
    if isinstance(error, ResponseRefused):
        if error.status >= 400:
            return _status_reason(error.status)
        return f"{error}{_CHECK}"
    return f"the response cannot be read or did not come ({type(error).__name__})"


def _status_reason(status: int, wait: str = "") -> str:
    match status:
        case 401 | 403:
            return (
                f"{status}: the app's identity may not read the delivery log: give it a role "
                f"with the action {ACTION} on the registry"
            )
        case 404:
            return "404: there is no such webhook: correct its resource id in ACR_WEBHOOKS"
        case 429:
            seconds = f" for {wait} seconds" if _SECONDS.fullmatch(wait) else ""
            return f"429: too many requests{seconds}: the next run tries again"
    if 400 <= status < 500:
        return f"{status}: the management API refuses the request"
    return f"{status}: the next run tries again"
