"""App settings, read once at start."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from shared.core.limits import MAX_MESSAGE_BYTES
from shared.core.misconfiguration import Misconfiguration
from shared.core.registries import AllowList
from shared.core.text import clip
from shared.core.webhooks import Webhook, webhooks
from shared.storage import connections
from shared.storage.connections import Connection, Principal, require_https

# Far more than any known delivery (a push has about 900 bytes). It still fits a message.
MAX_BODY_BYTES = 32 * 1024

# Of the five seconds that the registry waits. The rest is for the network and the platform.
# Reported by Microsoft, not documented: https://github.com/MicrosoftDocs/azure-docs/issues/54638
BUDGET_SECONDS = 4.0

# The most that leaves the network and the platform some time. Where no registry waits (the tools),
# a budget may be longer.
MAX_BUDGET_SECONDS = 4.5
MAX_BUDGET_WITHOUT_REGISTRY_SECONDS = 30.0

# How long the registry keeps its delivery log is not documented. This is likely to be longer.
RECOVERED_DAYS = 30.0

MANAGEMENT = "https://management.azure.com"

# The app's settings that begin so.
PREFIX = "ACR_"
NAMES = (
    "ACR_REGISTRIES",
    "ACR_MAX_BODY_BYTES",
    "ACR_BUDGET_SECONDS",
    "ACR_WEBHOOKS",
    "ACR_RECOVERED_DAYS",
    "ACR_KEEP_UNROUTED",
)
# Those of the deployment and of the tools: on a developer's machine the app can see them too.
OTHER_NAMES = (
    "ACR_ALERT_EMAIL",
    "ACR_ALERT_THRESHOLDS",
    "ACR_ALLOWED_IPS",
    "ACR_ALWAYS_READY",
    "ACR_APP_SETTINGS",
    "ACR_CONSUMER_ID",
    "ACR_CREATE_WEBHOOK",
    "ACR_HTTP_CONCURRENCY",
    "ACR_INSTANCE_MEMORY_MB",
    "ACR_KEY_NAME",
    "ACR_MAXIMUM_INSTANCES",
    "ACR_OPERATOR_ID",
    "ACR_OPERATOR_IP",
    "ACR_RECONCILE_SCHEDULE",
    "ACR_RECOVER_MISSED",
    "ACR_REGISTRY_ID",
    "ACR_REGISTRY_IDS",
    "ACR_RESTRICT_INBOUND",
    "ACR_SITE_UPDATE_STRATEGY",
    "ACR_STORAGE_SKU",
    "ACR_VNET_ENABLED",
    "ACR_VNET_PREFIX",
    "ACR_WEBHOOK_ACTIONS",
    "ACR_WEBHOOK_KEY",
    "ACR_WEBHOOK_NAME",
    "ACR_WEBHOOK_SCOPE",
    "ACR_ZONE_REDUNDANT",
)


class SettingsError(ValueError):
    """An app setting that cannot be used. The message names it and never quotes a secret."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. docs/configuration.md has the table of them.

    `misconfigured` is what could not be used as it was set. The other fields have what is safe.
    """

    storage: Connection
    registries: AllowList
    max_body_bytes: int = MAX_BODY_BYTES
    budget_seconds: float = BUDGET_SECONDS
    keep_unrouted: bool = False
    misconfigured: tuple[Misconfiguration, ...] = ()

    @classmethod
    def read(cls, environment: Mapping[str, str], *, registry_waits: bool = True) -> "Settings":
        """The settings in `environment`. An empty one counts as absent.

        `registry_waits`: a registry waits for the responses, so the budget is short.

        Raises SettingsError where the app could store nothing.
        """
        given = _given(environment)
        try:
            storage = connections.read(given)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return cls(storage, *_optional(given, registry_waits=registry_waits))


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


def misconfigured(
    environment: Mapping[str, str], also: Collection[str] = ()
) -> list[Misconfiguration]:
    """What cannot work in `environment`, but for the storage account.

    `also` are names of settings that routes refer to.
    """
    found = list(_optional(_given(environment), registry_waits=True)[-1])
    try:
        ReconcileSettings.read(environment)
    except SettingsError as error:
        # Nobody calls that function: without this, its failure would not be noticed.
        rule = "has a setting that cannot be used"
        found.append(Misconfiguration("AcrReconcile", rule, f"{error}."))
    return [*found, *_unknown(environment, also)]


def _optional(
    given: Mapping[str, str], *, registry_waits: bool
) -> tuple[AllowList, int, float, bool, tuple[Misconfiguration, ...]]:
    """The fields of `Settings` behind the first."""
    most = MAX_BUDGET_SECONDS if registry_waits else MAX_BUDGET_WITHOUT_REGISTRY_SECONDS
    registries = AllowList.read(given.get("ACR_REGISTRIES", ""))
    body, body_wrong = _safe_number(
        given, "ACR_MAX_BODY_BYTES", MAX_BODY_BYTES, 1024, MAX_MESSAGE_BYTES
    )
    budget, budget_wrong = _safe_number(given, "ACR_BUDGET_SECONDS", BUDGET_SECONDS, 0.5, most)
    # What is kept without need can be deleted. What is not kept is gone.
    keep, keep_wrong = _safe_flag(given, "ACR_KEEP_UNROUTED", safe=True)
    wrong = (*registries.invalid, *body_wrong, *budget_wrong, *keep_wrong)
    return registries, int(body), budget, keep, wrong


def _unknown(environment: Mapping[str, str], also: Collection[str]) -> Iterator[Misconfiguration]:
    """The settings that look like the app's, but are not."""
    for name in sorted(_given(environment)):
        if name.upper().startswith(PREFIX) and name not in {*NAMES, *OTHER_NAMES, *also}:
            close = get_close_matches(name.upper(), NAMES, 1)
            advice = f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(NAMES)}."
            yield Misconfiguration(clip(name), "is not a setting of this app", advice)


def _number(
    given: Mapping[str, str], name: str, default: float, least: float, most: float
) -> float:
    number = _parsed(given.get(name, str(default)))
    if not least <= number <= most:
        raise SettingsError(f"{name} {_range(least, most)}")
    return number


def _safe_number(
    given: Mapping[str, str], name: str, default: float, least: float, most: float
) -> tuple[float, list[Misconfiguration]]:
    """The number, or the greatest one allowed where it is greater, or else the default."""
    number = _parsed(given.get(name, str(default)))
    if least <= number <= most:
        return number, []
    safe = most if number > most else default
    advice = f"The app uses {safe:g}."
    return safe, [Misconfiguration(name, _range(least, most), advice)]


def _parsed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _range(least: float, most: float) -> str:
    return f"must be a number from {least:g} to {most:g}"


def _safe_flag(
    given: Mapping[str, str], name: str, *, safe: bool
) -> tuple[bool, list[Misconfiguration]]:
    word = given.get(name, "false").lower()
    if word in ("true", "false"):
        return word == "true", []
    advice = f"The app uses {str(safe).lower()}."
    return safe, [Misconfiguration(name, "must be true or false", advice)]
