"""Clients of a storage account's queues."""

import logging
from base64 import b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.storage import credentials
from shared.storage.connections import Connection, Identity
from shared.storage.transport import USER_AGENT, session, transport

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueServiceClient

# At INFO the SDK logs every request with its headers: noise for an operator, and CPU time.
logging.getLogger("azure.core.pipeline.policies").setLevel(logging.WARNING)


def check(connection: Connection) -> None:
    """Raises ValueError where no client could ever work. The message quotes no secret."""
    try:
        if isinstance(connection, Identity):
            _check_url(connection.queue_service_uri)
        else:
            from azure.storage.queue import QueueServiceClient

            service = QueueServiceClient.from_connection_string(connection.value)
            _check_url(service.url)
            _check_key(getattr(service.credential, "account_key", ""))
    except ValueError as error:
        raise ValueError(f"{connection.name}: {error}") from None


def _check_url(text: str) -> None:
    url = urlsplit(text)
    try:
        (url.hostname or "").encode("idna")
        # The SDK puts https:// before a URL that does not begin with http.
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


def connect(connection: Connection) -> "QueueServiceClient":
    """A client of the account, with every time-out and retry set here and none of the SDK's.

    Call it on the event loop that will use it, with a connection that `check` passed.
    """
    from azure.storage.queue.aio import QueueServiceClient

    shared = session()
    options: dict[str, Any] = {
        "transport": transport(shared, closes_session=True),
        "retry_total": 0,
        "user_agent": USER_AGENT,
    }
    if isinstance(connection, Identity):
        tokens = credentials.credential(connection.principal, transport(shared))
        return QueueServiceClient(connection.queue_service_uri, tokens, **options)
    return QueueServiceClient.from_connection_string(connection.value, **options)
