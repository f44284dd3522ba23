"""App settings, read once at start."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.core.limits import MAX_MESSAGE_BYTES
from shared.core.registries import AllowList
from shared.core.webhooks import Webhook, webhooks
from shared.storage import connections
from shared.storage.connections import Connection, Principal, require_https

# Far more than any known delivery (a push has about 900 bytes). It still fits a message.
MAX_BODY_BYTES = 32 * 1024

# Of the five seconds that the registry waits. The rest is for the network and the platform.
# Reported by Microsoft, not documented: https://github.com/MicrosoftDocs/azure-docs/issues/54638
BUDGET_SECONDS = 4.0

# How long the registry keeps its delivery log is not documented. This is likely to be longer.
RECOVERED_DAYS = 30.0

MANAGEMENT = "https://management.azure.com"


class SettingsError(ValueError):
    """An app setting that cannot be used. The message names it and never quotes a secret."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. docs/configuration.md has the table of them."""

    storage: Connection
    registries: AllowList
    max_body_bytes: int = MAX_BODY_BYTES
    budget_seconds: float = BUDGET_SECONDS
    keep_unrouted: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in `environment`. An empty one counts as absent. Raises SettingsError."""
        given = _given(environment)
        try:
            storage = connections.read(given)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        try:
            registries = AllowList.parse(given.get("ACR_REGISTRIES", ""))
        except ValueError as error:
            raise SettingsError(f"ACR_REGISTRIES: {error}") from None
        return cls(
            storage,
            registries,
            int(_number(given, "ACR_MAX_BODY_BYTES", MAX_BODY_BYTES, 1024, MAX_MESSAGE_BYTES)),
            _number(given, "ACR_BUDGET_SECONDS", BUDGET_SECONDS, 0.5, 30),
            _flag(given, "ACR_KEEP_UNROUTED"),
        )


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """The settings of `AcrReconcile`, beside the app's.

    Args:
        webhooks: The webhooks to reconcile. Empty where there is nothing to do.
        memory: How long the ledger remembers. Older deliveries are left alone, or they could come
            twice.
        endpoint: The management API's.
        principal: The identity that calls it.

    """

    webhooks: tuple[Webhook, ...]
    memory: timedelta
    endpoint: str
    principal: Principal

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "ReconcileSettings":
        """As `Settings.read`. Raises SettingsError."""
        given = _given(environment)
        endpoint = given.get("AcrManagement__endpoint", MANAGEMENT)
        try:
            require_https("AcrManagement__endpoint", endpoint, MANAGEMENT)
            principal = Principal.read(given, "AcrManagement")
        except ValueError as error:
            raise SettingsError(str(error)) from None
        try:
            chosen = webhooks(given.get("ACR_WEBHOOKS", ""))
        except ValueError as error:
            raise SettingsError(f"ACR_WEBHOOKS: {error}") from None
        days = _number(given, "ACR_RECOVERED_DAYS", RECOVERED_DAYS, 1, 365)
        return cls(chosen, timedelta(days=days), endpoint.rstrip("/"), principal)


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value.strip() for name, value in environment.items() if value.strip()}


def _number(
    given: Mapping[str, str], name: str, default: float, least: float, most: float
) -> float:
    try:
        number = float(given.get(name, default))
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise SettingsError(f"{name} must be a number from {least:g} to {most:g}")
    return number


def _flag(given: Mapping[str, str], name: str) -> bool:
    word = given.get(name, "false").lower()
    if word not in ("true", "false"):
        raise SettingsError(f"{name} must be true or false")
    return word == "true"
