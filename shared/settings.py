"""App settings, read once at start."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared import connections
from shared.connections import Connection
from shared.limits import MAX_MESSAGE_BYTES
from shared.registries import AllowList

# Beyond any delivery known (a push has about 900 bytes), and still a message of its own.
MAX_BODY_BYTES = 32 * 1024

# Of the five seconds that the registry waits; the rest is the network's and the platform's.
BUDGET_SECONDS = 4.0


class SettingsError(ValueError):
    """An app setting that cannot be used; the message names it and never quotes a secret."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. README.md has the table of them."""

    storage: Connection
    registries: AllowList
    max_body_bytes: int = MAX_BODY_BYTES
    budget_seconds: float = BUDGET_SECONDS
    keep_unrouted: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in `environment`; an empty one counts as absent. Raises SettingsError."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
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
