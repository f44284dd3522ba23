"""Sends messages: one REST call each, without the SDK of queues.

The SDK's pipeline around that call costs more CPU time than all other stages of a delivery,
and its import is most of a cold start (docs/decisions/0013-direct-send.md). azure.core, on which
every Azure SDK is built, carries the call instead.
"""

from base64 import b64encode
from email.utils import formatdate
from typing import Any, Protocol

from azure.core import AsyncPipelineClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

from shared.storage import credentials
from shared.storage.connections import Connection, Identity
from shared.storage.errors import (
    QUEUE_ALREADY_EXISTS,
    MayNotCreate,
    error_code,
    failure,
    is_denied,
)
from shared.storage.transport import USER_AGENT

# Of the version, only its existence matters: both operations are older.
# https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services
_API_VERSION = "2021-12-02"

# Without this value, a message expires after seven days.
# https://learn.microsoft.com/rest/api/storageservices/put-message
NEVER_EXPIRES = -1


class _Tokens(Protocol):
    """What gives access tokens."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for `scopes`."""


class _BearerToken(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Signs a request with a token.

    Unlike the SDK's, it follows no challenge: nobody at the other end chooses the audience.
    """

    def __init__(self, tokens: _Tokens) -> None:
        super().__init__()
        self._tokens = tokens

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Sends `request`. Raises TokenUnavailable."""
        token = await self._tokens.get_token(credentials.STORAGE_SCOPE)
        request.http_request.headers["Authorization"] = f"Bearer {token.token}"
        return await self.next.send(request)


class MessageClient:
    """Sends messages to the queues of one account, over `transport`.

    It belongs to the event loop of its transport.
    """

    def __init__(self, connection: Connection, transport: AioHttpTransport) -> None:
        """`connection` must be valid: `clients.check`."""
        if isinstance(connection, Identity):
            self._base, self._query = connection.queue_service_uri.rstrip("/"), ""
            tokens = credentials.credential(connection.principal, transport)
            policies: list[Any] = [_BearerToken(tokens)]
        else:
            # The SDK parses it, and its credential is a policy that signs requests.
            from azure.storage.queue import QueueServiceClient

            service = QueueServiceClient.from_connection_string(connection.value)
            url, _, self._query = service.url.partition("?")
            self._base = url.rstrip("/")
            policies = [service.credential] if hasattr(service.credential, "on_request") else []
        self._client = AsyncPipelineClient[HttpRequest, AsyncHttpResponse](
            self._base, policies=policies, transport=transport
        )

    async def put(self, queue: str, message: bytes, request_id: str | None = None) -> None:
        """Puts `message`, base64-encoded and without an expiry, on `queue`.

        https://learn.microsoft.com/rest/api/storageservices/put-message

        Raises HttpResponseError with `error_code`, AzureError, OSError.
        """
        content = b"<QueueMessage><MessageText>%b</MessageText></QueueMessage>"
        url = self._url(f"{queue}/messages", f"messagettl={NEVER_EXPIRES}")
        request = self._request("POST", url, request_id, content % b64encode(message))
        await self._send(request, 201)

    async def create(self, queue: str, request_id: str | None = None) -> None:
        """Creates `queue`, if it does not exist.

        https://learn.microsoft.com/rest/api/storageservices/create-queue4

        Raises MayNotCreate, HttpResponseError, AzureError, OSError.
        """
        try:
            await self._send(self._request("PUT", self._url(queue), request_id), 201, 204)
        except HttpResponseError as error:
            if is_denied(error):
                raise MayNotCreate from error
            # The same status stands for a queue that is being deleted: it does not exist yet.
            # https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
            if error_code(error) != QUEUE_ALREADY_EXISTS:
                raise

    async def close(self) -> None:
        """Closes the transport."""
        await self._client.close()

    def _url(self, path: str, query: str = "") -> str:
        query = "&".join(filter(None, (query, self._query)))
        return f"{self._base}/{path}?{query}" if query else f"{self._base}/{path}"

    def _request(
        self, method: str, url: str, request_id: str | None, content: bytes | None = None
    ) -> HttpRequest:
        headers = {
            "x-ms-version": _API_VERSION,
            "x-ms-date": formatdate(usegmt=True),
            "User-Agent": USER_AGENT,
            "Accept": "application/xml",
        }
        if request_id:
            headers["x-ms-client-request-id"] = request_id
        if content is not None:
            headers["Content-Type"] = "application/xml"
        return HttpRequest(method, url, headers=headers, content=content)

    async def _send(self, request: HttpRequest, *expected: int) -> None:
        response = await self._client.send_request(request)
        if response.status_code not in expected:
            raise failure(response)
