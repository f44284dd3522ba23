"""App settings, read once at start."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.limits import MAX_MESSAGE_BYTES
from shared.registries import AllowList

# The first that is set holds the connection string of the storage account.
CONNECTIONS = ("AcrEventsStorage", "AzureWebJobsStorage")

# Beyond any delivery known (a push has about 900 bytes), and still a message of its own.
MAX_BODY_BYTES = 32 * 1024

# Of the five seconds that the registry waits; the rest is the network's and the platform's.
BUDGET_SECONDS = 4.0


class SettingsError(ValueError):
    """An app setting that cannot be used; the message names it and never quotes a secret."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. README.md has the table of them.

    `connection` is the name of the setting that holds `connection_string`.
    """

    connection: str
    connection_string: str
    registries: AllowList
    max_body_bytes: int = MAX_BODY_BYTES
    budget_seconds: float = BUDGET_SECONDS

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in `environment`; an empty one counts as absent. Raises SettingsError."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        connection = next((name for name in CONNECTIONS if name in given), None)
        if connection is None:
            raise SettingsError(
                "AcrEventsStorage is not set, and neither is AzureWebJobsStorage: one of them must "
                "hold the connection string of the storage account (locally: "
                "UseDevelopmentStorage=true)"
            )
        try:
            registries = AllowList.parse(given.get("ACR_REGISTRIES", ""))
        except ValueError as error:
            raise SettingsError(f"ACR_REGISTRIES: {error}") from None
        return cls(
            connection,
            given[connection],
            registries,
            int(_number(given, "ACR_MAX_BODY_BYTES", MAX_BODY_BYTES, 1024, MAX_MESSAGE_BYTES)),
            _number(given, "ACR_BUDGET_SECONDS", BUDGET_SECONDS, 0.5, 30),
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
