"""Azure Storage Queues: the only module that talks to them."""

import asyncio
import logging
import random
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceResponseTimeoutError,
)
from azure.storage.queue import BinaryBase64EncodePolicy, StorageErrorCode
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from shared.storage import credentials as identity
from shared.storage.connections import Connection, Identity
from shared.storage.transport import USER_AGENT, session, transport

NEVER_EXPIRES = -1

# Storage's word for: it knows who asks, but no role of theirs allows it.
_DENIED = "AuthorizationPermissionMismatch"

# Seconds. An attempt to send may take half of the time that is left: a slow account gets an answer
# through, and of a stalled connection enough is left to try another one.
_SHARE = 0.5
_SHORTEST_ATTEMPT = 0.5
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5

# A message that a reader gave back may lie behind younger ones: the oldest of as many as one look
# can show.
_PEEK = 32

# At INFO the SDK logs every request and its headers: noise for the operator, time for us.
logging.getLogger("azure.core.pipeline.policies").setLevel(logging.WARNING)


class StorageUnavailable(Exception):
    """Storage did not do its part for `queue` in time. Says why, without account name or key."""

    def __init__(self, queue: str, error: Exception) -> None:
        super().__init__(f"{queue}: {reason(error)}")
        self.queue = queue


def check(connection: Connection) -> None:
    """Raises ValueError, which quotes no secret, where no client could ever work with this."""
    try:
        if isinstance(connection, Identity):
            _check_url(connection.queue_service_uri)
        else:
            service = QueueServiceClient.from_connection_string(connection.value)
            _check_url(service.url)
            _check_key(getattr(service.credential, "account_key", ""))
    except ValueError as error:
        raise ValueError(f"{connection.name}: {error}") from None


def _check_url(text: str) -> None:
    url = urlsplit(text)
    try:
        (url.hostname or "").encode("idna")
        # The SDK puts https:// before whatever does not begin with http.
        usable = bool(url.hostname) and not url.netloc.endswith(":") and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("its queue endpoint is no http or https URL")


def _check_key(key: str) -> None:
    try:
        b64decode(key, validate=True)
    except ValueError:
        raise ValueError("its account key is not base64") from None


def connect(connection: Connection) -> QueueServiceClient:
    """A client of the account, with every time-out and retry set here; none is the SDK's.

    To be called on the event loop that will use it, with a connection that `check` passed.
    """
    shared = session()
    options: dict[str, Any] = {
        "transport": transport(shared, closes_it=True),
        "retry_total": 0,
        "user_agent": USER_AGENT,
    }
    if isinstance(connection, Identity):
        tokens = identity.credential(connection.principal, transport(shared))
        return QueueServiceClient(connection.queue_service_uri, tokens, **options)
    return QueueServiceClient.from_connection_string(connection.value, **options)


class _MayNotCreate(Exception):
    """The queue is missing, and no role of ours allows to create it."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages lie on a queue, about, and since when the oldest waits for a reader.

    A message that a reader has in hand is counted, but does not wait.
    """

    messages: int
    oldest: datetime | None


class Queues:
    """The queues of one storage account; one client each, made on first use.

    Clients belong to the event loop that first used them: on another loop they are made anew.
    """

    def __init__(self, connection: Connection) -> None:
        """Raises ValueError where nothing could ever be reached by `connection`."""
        check(connection)
        if isinstance(connection, Identity):
            identity.prepare()
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._service: QueueServiceClient | None = None
        self._clients: dict[str, QueueClient] = {}

    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        """Returns once Storage has confirmed `message` on `queue`, which is created if missing.

        The message is at most MAX_MESSAGE_BYTES long, is base64-encoded as Functions consumers
        expect, and never expires. `deadline` is a time of the running loop's clock; until then
        whatever may pass is tried again, so that a message can arrive twice. `request_id` names
        the request in Storage's own logs.

        Raises StorageUnavailable.
        """
        client = self._client(queue)
        cause: Exception | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout_at(self._end_of_attempt(deadline)):
                    await self._attempt(client, message, request_id)
                return
            except Exception as error:  # on odd answers the SDK raises anything
                # An attempt that the deadline cut short says less than the one before.
                if cause is None or not isinstance(error, TimeoutError):
                    cause = error
                pause *= random.uniform(1, 2)  # noqa: S311 (jitter, not a secret)
                if not _may_pass(error) or self._now() + pause >= deadline:
                    raise StorageUnavailable(queue, cause) from error
                await asyncio.sleep(pause)
                pause = min(pause, _LONGEST_PAUSE)

    async def reach(self, queue: str, deadline: float) -> None:
        """Returns once Storage has answered for `queue`; a missing one is created when needed.

        To an identity that may send and no more, Storage says only that it knows it.

        Raises StorageUnavailable.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._client(queue).get_queue_properties()
        except Exception as error:
            if not (is_missing(error) or _is_denied(error)):
                raise StorageUnavailable(queue, error) from error

    async def depth(self, queue: str, deadline: float) -> Depth:
        """What lies on `queue`; nothing on one that is not there.

        Raises StorageUnavailable.
        """
        client = self._client(queue)
        try:
            async with asyncio.timeout_at(deadline):
                properties = await client.get_queue_properties()
                first = await client.peek_messages(max_messages=_PEEK)
        except Exception as error:
            if is_missing(error):
                return Depth(0, None)
            raise StorageUnavailable(queue, error) from error
        ages = [message.inserted_on for message in first if message.inserted_on]
        return Depth(properties.approximate_message_count or 0, min(ages, default=None))

    async def close(self) -> None:
        """Closes the connections."""
        if self._service:
            await self._service.close()
        self._loop = self._service = None
        self._clients = {}

    @staticmethod
    async def _attempt(client: QueueClient, message: bytes, request_id: str | None) -> None:
        # Without an id of ours the SDK makes one, at a price.
        options: dict[str, Any] = {"client_request_id": request_id} if request_id else {}
        try:
            await client.send_message(message, time_to_live=NEVER_EXPIRES, **options)
        except ResourceNotFoundError:
            try:
                await client.create_queue()
            except ResourceExistsError as error:
                # Also raised for a queue that is being deleted: that one is not there yet.
                if _code(error) != StorageErrorCode.QUEUE_ALREADY_EXISTS:
                    raise
            except HttpResponseError as error:
                if _is_denied(error):
                    raise _MayNotCreate from error
                raise
            await client.send_message(message, time_to_live=NEVER_EXPIRES, **options)

    def _client(self, queue: str) -> QueueClient:
        loop = asyncio.get_running_loop()
        if self._service is None or self._loop is not loop:
            self._service = connect(self._connection)
            self._loop = loop
            self._clients = {}
        client = self._clients.get(queue)
        if client is None:
            client = self._clients[queue] = self._service.get_queue_client(
                queue, message_encode_policy=BinaryBase64EncodePolicy()
            )
        return client

    @classmethod
    def _end_of_attempt(cls, deadline: float) -> float:
        now = cls._now()
        return min(deadline, now + max(_SHORTEST_ATTEMPT, (deadline - now) * _SHARE))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _may_pass(error: Exception) -> bool:
    """Whether a second try may succeed: not where Storage refused the request itself."""
    if isinstance(error, _MayNotCreate):
        return False
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return True
    return error.status_code in (404, 408, 409, 429) or error.status_code >= 500


def is_missing(error: Exception) -> bool:
    """Whether Storage says that there is no such queue; other servers answer 404 as well."""
    return isinstance(error, HttpResponseError) and _code(error) == StorageErrorCode.QUEUE_NOT_FOUND


def _is_denied(error: Exception) -> bool:
    return isinstance(error, HttpResponseError) and _code(error) == _DENIED


def _code(error: HttpResponseError) -> str | None:
    """Storage's own word for the error; the SDK sets it, though its types do not say so."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code)) if code else None


def reason(error: Exception) -> str:
    """Why Storage did not do its part: short, without account name or key."""
    if isinstance(error, _MayNotCreate):
        return (
            "there is no such queue, and the app may not create it: create it, or give the "
            "app's identity the role Storage Queue Data Contributor"
        )
    if _is_denied(error):
        return (
            "Storage does not allow it: an identity needs the role Storage Queue Data Message "
            "Sender to send, Storage Queue Data Reader to look at messages, Storage Queue Data "
            "Contributor to take them (a new assignment takes some minutes)"
        )
    if isinstance(error, identity.TokenUnavailable):
        return str(error)
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return f"Storage answered {error.status_code} {_code(error) or error.reason}"
    if isinstance(error, TimeoutError | ServiceResponseTimeoutError):
        return "Storage did not answer in time"
    if isinstance(error, AzureError | OSError):
        return "Storage cannot be reached"
    return f"Storage's answer made the SDK fail ({type(error).__name__})"
