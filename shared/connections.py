"""How the app reaches its storage account: with a connection string, or as an identity."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# The first that is set is taken.
NAMES = ("AcrEventsStorage", "AzureWebJobsStorage")

_MANAGED_IDENTITY = "managedidentity"


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """The account and its key, in the setting `name`."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """The account's queues by their URL; who we are, the platform tells.

    `managed`: the app's managed identity, the user-assigned one of `client_id` where that is given.
    Otherwise whatever the developer is logged in with.
    """

    name: str
    queue_service_uri: str
    managed: bool
    client_id: str | None


Connection = ConnectionString | Identity


def read(given: Mapping[str, str]) -> Connection:
    """The connection in the app settings `given`, of which none is empty.

    The names are those of the connections of Functions bindings. Raises ValueError with the name
    of the setting.
    """
    for name in NAMES:
        uri = _queue_service_uri(given, name)
        if name in given and uri:
            raise ValueError(
                f"{name} holds a connection string, and {uri[0]} is set too: which of them is "
                "meant? Remove one"
            )
        if name in given:
            return ConnectionString(name, given[name])
        if uri:
            return _identity(given, name, *uri)
    raise ValueError(
        "AcrEventsStorage is not set, and neither is AzureWebJobsStorage: one of them must hold "
        "the connection string of the storage account (locally: UseDevelopmentStorage=true), or "
        "AcrEventsStorage__queueServiceUri its URL (https://<account>.queue.core.windows.net)"
    )


def _queue_service_uri(given: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """The URL of the queues, and the setting that tells it."""
    for setting, template in (
        (f"{name}__queueServiceUri", "{}"),
        (f"{name}__accountName", "https://{}.queue.core.windows.net"),
    ):
        if setting in given:
            return setting, template.format(given[setting])
    return None


def _identity(given: Mapping[str, str], name: str, setting: str, uri: str) -> Identity:
    url = urlsplit(uri)
    # What stands behind a question mark could be a signature: it is not ours to use or to show.
    if url.scheme != "https" or not url.hostname or url.query or url.username:
        raise ValueError(
            f"{setting} must lead to the account's queues by https and nothing else: "
            "https://<account>.queue.core.windows.net"
        )
    credential = given.get(f"{name}__credential", "").lower()
    if credential not in ("", _MANAGED_IDENTITY):
        raise ValueError(
            f"{name}__credential must be {_MANAGED_IDENTITY}, or not set (then it is the login of "
            "the developer)"
        )
    return Identity(name, uri, credential == _MANAGED_IDENTITY, given.get(f"{name}__clientId"))
