"""How the app reaches its storage account: a connection string, or an identity."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# The app uses the first that is set.
NAMES = ("AcrEventsStorage", "AzureWebJobsStorage")

_MANAGED_IDENTITY = "managedidentity"

# What may follow a name and two underscores. The first two locate the account.
# https://learn.microsoft.com/azure/azure-functions/functions-reference
PARTS = ("queueServiceUri", "accountName", "tableServiceUri", "credential", "clientId")

# https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_HTTPS = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._/-]*)?")


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """The account and its key, in the setting `name`."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity for which the platform issues tokens.

    `managed`: the app's managed identity, the user-assigned one of `client_id` where that is given.
    Otherwise the login of the developer.
    """

    managed: bool
    client_id: str | None

    @classmethod
    def read(cls, given: Mapping[str, str], name: str) -> "Principal":
        """The principal of the connection `name`. Raises ValueError with the setting's name."""
        credential = given.get(f"{name}__credential", "").lower()
        if credential not in ("", _MANAGED_IDENTITY):
            raise ValueError(
                f"{name}__credential must be {_MANAGED_IDENTITY}, or not set (then it is the login "
                "of the developer)"
            )
        return cls(credential == _MANAGED_IDENTITY, given.get(f"{name}__clientId"))


@dataclass(frozen=True, slots=True)
class Identity:
    """The URLs of the queues and the tables. The latter is None where it is not known."""

    name: str
    queue_service_uri: str
    table_service_uri: str | None
    principal: Principal


Connection = ConnectionString | Identity


def read(given: Mapping[str, str]) -> Connection:
    """The connection in the app settings `given`, of which none is empty.

    The names are those of the connections of Functions bindings. Raises ValueError with the name
    of the setting.
    """
    _require_known(given, NAMES[0])
    for name in NAMES:
        identity = _identity(given, name)
        if name in given and identity:
            raise ValueError(
                f"{name} holds a connection string, and {name}__queueServiceUri or "
                f"{name}__accountName is set too: which of them is meant? Remove one"
            )
        if name in given:
            return ConnectionString(name, given[name])
        if identity:
            return identity
    raise ValueError(
        "AcrEventsStorage is not set, and neither is AzureWebJobsStorage: one of them must hold "
        "the connection string of the storage account (locally: UseDevelopmentStorage=true), or "
        "AcrEventsStorage__queueServiceUri its URL (https://<account>.queue.core.windows.net)"
    )


def _require_known(given: Mapping[str, str], name: str) -> None:
    """A half or misspelled setting of our own account must not lead to another account."""
    parts = [setting for setting in given if setting.startswith(f"{name}__")]
    known = [f"{name}__{part}" for part in PARTS]
    for setting in parts:
        if setting not in known:
            raise ValueError(f"{setting} is not known; known are: {', '.join(known)}")
    locations = {name, *known[:2]}
    if parts and locations.isdisjoint(given):
        raise ValueError(f"{parts[0]} is set, but {known[0]} is not")


def _identity(given: Mapping[str, str], name: str) -> Identity | None:
    queues = _uri(given, name, "queue")
    if queues is None:
        return None
    # By default, the two URLs of an account differ in the name of the service only.
    # https://learn.microsoft.com/azure/storage/common/storage-account-overview#standard-endpoints
    tables = _uri(given, name, "table")
    if tables is None and ".queue." in queues:
        tables = queues.replace(".queue.", ".table.", 1)
    return Identity(name, queues, tables, Principal.read(given, name))


def _uri(given: Mapping[str, str], name: str, service: str) -> str | None:
    setting, account = f"{name}__{service}ServiceUri", f"{name}__accountName"
    if setting in given:
        form = f"https://<account>.{service}.core.windows.net"
        return require_https(setting, given[setting], form)
    if account in given:
        if not _ACCOUNT.fullmatch(given[account]):
            raise ValueError(f"{account} must be 3 to 24 lower-case letters and digits")
        return f"https://{given[account]}.{service}.core.windows.net"
    return None


def require_https(setting: str, uri: str, form: str) -> str:
    """`uri` where it is an HTTPS URL without user info or query. Raises ValueError, without it."""
    # User info and a query could be secrets: they are neither used nor shown.
    if not _HTTPS.fullmatch(uri):
        raise ValueError(f"{setting} must be an HTTPS URL without user info or query: {form}")
    return uri
