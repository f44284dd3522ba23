"""App settings, as the app reads them."""

import re
from datetime import timedelta

import pytest

from shared.app import App
from shared.core.registries import AllowList, Registry
from shared.settings import ReconcileSettings, Settings, SettingsError
from shared.storage.connections import ConnectionString, Identity, Principal

STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
SECRET = "c2VjcmV0LWtleQ"  # noqa: S105 (not a real key)


def test_own_connection_precedes_host_connection() -> None:
    """The app uses its own connection if it is set, or else the host's."""
    of_host = ConnectionString("AzureWebJobsStorage", "UseDevelopmentStorage=true")
    assert Settings.read(STORAGE).storage == of_host
    both = {**STORAGE, "AcrEventsStorage": "AccountName=a"}
    assert Settings.read(both).storage == ConnectionString("AcrEventsStorage", "AccountName=a")
    empty = {**STORAGE, "AcrEventsStorage": " "}
    assert Settings.read(empty).storage == of_host


QUEUES = "https://contoso.queue.core.windows.net"
TABLES = "https://contoso.table.core.windows.net"
DEVELOPER = Principal(managed=False, client_id=None)


@pytest.mark.parametrize(
    ("environment", "identity"),
    [
        (
            {"AcrEventsStorage__queueServiceUri": QUEUES},
            Identity("AcrEventsStorage", QUEUES, TABLES, DEVELOPER),
        ),
        (
            {
                "AcrEventsStorage__queueServiceUri": QUEUES,
                "AcrEventsStorage__credential": "managedidentity",
            },
            Identity("AcrEventsStorage", QUEUES, TABLES, Principal(managed=True, client_id=None)),
        ),
        (
            {
                "AcrEventsStorage__queueServiceUri": QUEUES,
                "AcrEventsStorage__credential": "managedIdentity",
                "AcrEventsStorage__clientId": "8a0b",
            },
            Identity("AcrEventsStorage", QUEUES, TABLES, Principal(managed=True, client_id="8a0b")),
        ),
        (
            {
                "AzureWebJobsStorage__accountName": "contoso",
                "AzureWebJobsStorage__credential": "managedidentity",
                "AzureWebJobsStorage__clientId": "7f",
                "AzureWebJobsStorage__blobServiceUri": "https://contoso.blob.core.windows.net",
            },
            Identity(
                "AzureWebJobsStorage", QUEUES, TABLES, Principal(managed=True, client_id="7f")
            ),
        ),
        (
            {
                "AcrEventsStorage__queueServiceUri": "https://storage.example/queues",
                "AcrEventsStorage__tableServiceUri": "https://storage.example/tables",
            },
            Identity(
                "AcrEventsStorage",
                "https://storage.example/queues",
                "https://storage.example/tables",
                DEVELOPER,
            ),
        ),
        (
            {"AcrEventsStorage__queueServiceUri": "https://storage.example/queues"},
            Identity("AcrEventsStorage", "https://storage.example/queues", None, DEVELOPER),
        ),
        (
            {**STORAGE, "AcrEventsStorage__queueServiceUri": QUEUES},
            Identity("AcrEventsStorage", QUEUES, TABLES, DEVELOPER),
        ),
    ],
)
def test_identity_settings_follow_functions_bindings(
    environment: dict[str, str], identity: Identity
) -> None:
    """The settings of an identity are those of the bindings of Azure Functions."""
    assert Settings.read(environment).storage == identity


def test_repr_hides_connection_string() -> None:
    """The repr of the settings does not contain the connection string."""
    read = Settings.read({"AcrEventsStorage": f"AccountKey={SECRET}"})
    assert SECRET not in repr(read)


def test_unrouted_events_are_kept_on_request() -> None:
    """The app keeps unrouted events only if the setting is true."""
    assert Settings.read(STORAGE).keep_unrouted is False
    assert Settings.read({**STORAGE, "ACR_KEEP_UNROUTED": "false"}).keep_unrouted is False
    assert Settings.read({**STORAGE, "ACR_KEEP_UNROUTED": "True"}).keep_unrouted is True


def test_limits_have_defaults() -> None:
    """By default, a body has at most 32 KiB and the budget is four seconds."""
    settings = Settings.read(STORAGE)
    assert settings.max_body_bytes == 32 * 1024
    assert settings.budget_seconds == 4


def test_limits_can_be_set() -> None:
    """App settings change the limit of a body and the budget."""
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
        (
            {"AcrEventsStorage__queueServiceUri": "http://a.queue.core.windows.net"},
            "AcrEventsStorage__queueServiceUri must be an HTTPS URL",
        ),
        (
            {"AcrEventsStorage__queueServiceUri": f"https://a.example/?sig={SECRET}"},
            "AcrEventsStorage__queueServiceUri must be an HTTPS URL",
        ),
        (
            {"AcrEventsStorage__queueServiceUri": f"https://a:{SECRET}@a.example/"},
            "AcrEventsStorage__queueServiceUri must be an HTTPS URL",
        ),
        (
            {"AzureWebJobsStorage__accountName": "a/b?c"},
            "AzureWebJobsStorage__accountName must be 3 to 24 lower-case letters and digits",
        ),
        (
            {"AcrEventsStorage__queueServiceUri": QUEUES, "AcrEventsStorage__credential": "key"},
            "AcrEventsStorage__credential must be managedidentity, or not set",
        ),
        *(
            ({"AcrEventsStorage__queueServiceUri": uri}, "AcrEventsStorage__queueServiceUri must")
            for uri in (
                "https://[abc",
                f"https://acc℀{SECRET}.x",
                f"https://:{SECRET}@a.example",
                f"https://a.example#{SECRET}",
                f"https://a {SECRET}",
                "https://",
                QUEUES[8:],
                f"https://a.example/x\t{SECRET}",
            )
        ),
        (
            {**STORAGE, "AcrEventsStorage__credential": "managedidentity"},
            "AcrEventsStorage__credential is set, but AcrEventsStorage__queueServiceUri is not",
        ),
        (
            {**STORAGE, "AcrEventsStorage__queueServiceURI": QUEUES},
            "AcrEventsStorage__queueServiceURI is not known; known are: AcrEventsStorage__queue",
        ),
        (
            {"AcrEventsStorage__queueServiceUri": QUEUES, "AcrEventsStorage__tableServiceUri": "x"},
            "AcrEventsStorage__tableServiceUri must be an HTTPS URL",
        ),
        (
            {"AcrEventsStorage__queueServiceUri": QUEUES, "AcrEventsStorage": SECRET},
            "AcrEventsStorage holds a connection string, and AcrEventsStorage__queueServiceUri or",
        ),
    ],
)
def test_bad_setting_is_named(environment: dict[str, str], says: str) -> None:
    """The error for an invalid setting names the setting, and contains no secret."""
    with pytest.raises(SettingsError) as caught:
        Settings.read(environment)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


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
def test_bad_connection_string_stays_secret(
    connection: str,
) -> None:
    """An invalid connection string stops the app, and the error does not contain it."""
    with pytest.raises(SettingsError, match=r"^AcrEventsStorage: ") as caught:
        App.from_environment({"AcrEventsStorage": connection})
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__cause__)


WEBHOOK = (
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/contoso"
    "/webhooks/events"
)


def test_reconcile_settings_have_defaults() -> None:
    """By default, no webhook is reconciled, the ledger keeps 30 days and the cloud is public."""
    assert ReconcileSettings.read({}) == ReconcileSettings(
        (), timedelta(days=30), "https://management.azure.com", DEVELOPER
    )


def test_reconcile_settings_are_read() -> None:
    """Webhooks, days, endpoint and identity of the reconciliation are app settings."""
    settings = ReconcileSettings.read(
        {
            "ACR_WEBHOOKS": f" {WEBHOOK} ",
            "ACR_RECOVERED_DAYS": "1.5",
            "AcrManagement__endpoint": "https://management.example/X/",
            "AcrManagement__credential": "managedidentity",
            "AcrManagement__clientId": "7f",
        }
    )
    assert [webhook.id for webhook in settings.webhooks] == [WEBHOOK]
    assert settings.memory == timedelta(hours=36)
    assert settings.endpoint == "https://management.example/X"
    assert settings.principal == Principal(managed=True, client_id="7f")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACR_WEBHOOKS", "x", "ACR_WEBHOOKS: entry 1: "),
        ("ACR_RECOVERED_DAYS", "0.9", "ACR_RECOVERED_DAYS must be a number from 1 to 365"),
        ("ACR_RECOVERED_DAYS", "365.1", "ACR_RECOVERED_DAYS must be a number from 1 to 365"),
        (
            "AcrManagement__endpoint",
            "http://a",
            "AcrManagement__endpoint must be an HTTPS URL without user info or query: "
            "https://management.azure.com",
        ),
        ("AcrManagement__credential", "x", "AcrManagement__credential must be managedidentity"),
    ],
)
def test_bad_reconcile_setting_is_named(name: str, value: str, message: str) -> None:
    """The error for an invalid setting of the reconciliation names it and states a valid form."""
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        ReconcileSettings.read({name: value})


def test_recovered_days_may_be_bounds() -> None:
    """The ledger can keep its entries for a day and for a year."""
    for days in (1, 365):
        read = ReconcileSettings.read({"ACR_RECOVERED_DAYS": str(days)})
        assert read.memory == timedelta(days=days)


def test_settings_not_given_are_defaults() -> None:
    """A setting that is not set has the default that the constructor gives it."""
    found = Settings.read(STORAGE)
    made = Settings(found.storage, AllowList.parse(""))
    assert (made.max_body_bytes, made.budget_seconds) == (32768, 4.0)
    assert made.keep_unrouted is found.keep_unrouted is False
    assert found.registries.registry("a.io", None) == Registry("a.io")
    assert found.registries.registry(None, None) is None
