import pytest

from shared.ingest import Ingest
from shared.settings import Settings, SettingsError

STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
SECRET = "c2VjcmV0LWtleQ"  # noqa: S105 (nobody's)


def test_the_connection_is_the_events_own_or_else_the_hosts() -> None:
    assert Settings.read(STORAGE).connection_string == "UseDevelopmentStorage=true"
    both = {**STORAGE, "AcrEventsStorage": "AccountName=a"}
    assert Settings.read(both).connection_string == "AccountName=a"
    empty = {**STORAGE, "AcrEventsStorage": " "}
    assert Settings.read(empty).connection_string == "UseDevelopmentStorage=true"


def test_defaults_are_32_kib_and_four_seconds() -> None:
    settings = Settings.read(STORAGE)
    assert settings.max_body_bytes == 32 * 1024
    assert settings.budget_seconds == 4


def test_limits_can_be_set() -> None:
    settings = Settings.read(
        {**STORAGE, "ACR_MAX_BODY_BYTES": "40000", "ACR_BUDGET_SECONDS": "2.5"}
    )
    assert settings.max_body_bytes == 40000
    assert settings.budget_seconds == 2.5


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "AcrEventsStorage is not set, and neither is AzureWebJobsStorage"),
        ({"AzureWebJobsStorage": ""}, "AcrEventsStorage is not set"),
        ({**STORAGE, "ACR_MAX_BODY_BYTES": "32k"}, "ACR_MAX_BODY_BYTES must be a number from 1024"),
        ({**STORAGE, "ACR_MAX_BODY_BYTES": "10"}, "ACR_MAX_BODY_BYTES must be"),
        ({**STORAGE, "ACR_BUDGET_SECONDS": "nan"}, "ACR_BUDGET_SECONDS must be a number from 0.5"),
        ({**STORAGE, "ACR_BUDGET_SECONDS": "0"}, "ACR_BUDGET_SECONDS must be"),
        ({**STORAGE, "ACR_REGISTRIES": "a.io,b c"}, 'ACR_REGISTRIES: entry 2: "b c" is not a host'),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read(environment)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "connection",
    [
        SECRET,
        f"AccountKey={SECRET}",
        f"AccountName;AccountKey={SECRET}",
        f"https://x/?sig={SECRET}",
        f"AccountName=a;AccountKey={SECRET}*",
        f"AccountName=a;AccountKey={SECRET}==;QueueEndpoint=ftp://a/",
        f"AccountName=a;AccountKey={SECRET}==;QueueEndpoint=http://x..y/z",
        f"AccountName=a;AccountKey={SECRET}==;QueueEndpoint=http://a:x/",
    ],
)
def test_a_connection_string_that_cannot_be_one_stops_the_app_without_being_shown(
    connection: str,
) -> None:
    with pytest.raises(SettingsError, match=r"^AcrEventsStorage: ") as caught:
        Ingest.from_settings(Settings.read({"AcrEventsStorage": connection}))
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__cause__)
