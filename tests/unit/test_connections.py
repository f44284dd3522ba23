"""Connections to Storage: which account an app setting names, and what errors say."""

import re

import pytest

from shared.storage.connections import ConnectionString, Identity, Principal, read, require_https

QUEUES = "https://contoso.queue.core.windows.net"
TABLES = "https://contoso.table.core.windows.net"
KNOWN = (
    "AcrEventsStorage__queueServiceUri, AcrEventsStorage__accountName, "
    "AcrEventsStorage__tableServiceUri, AcrEventsStorage__credential, AcrEventsStorage__clientId"
)


@pytest.mark.parametrize("name", ["AcrEventsStorage", "AzureWebJobsStorage"])
def test_account_name_gives_both_urls(name: str) -> None:
    """An account's name gives the URLs of its queues and its tables."""
    developer = Principal(managed=False, client_id=None)
    assert read({f"{name}__accountName": "contoso"}) == Identity(name, QUEUES, TABLES, developer)


def test_events_account_precedes_host_account() -> None:
    """The account of the events comes before that of the host, however each is named."""
    found = read({"AcrEventsStorage__accountName": "contoso", "AzureWebJobsStorage": "x"})
    assert found == Identity(
        "AcrEventsStorage", QUEUES, TABLES, Principal(managed=False, client_id=None)
    )
    found = read({"AcrEventsStorage": "x", "AzureWebJobsStorage__accountName": "contoso"})
    assert found == ConnectionString("AcrEventsStorage", "x")


def test_given_table_url_wins() -> None:
    """A table URL that is set wins over the one derived from the queue URL."""
    tables = "https://storage.example/tables"
    found = read(
        {"AcrEventsStorage__queueServiceUri": QUEUES, "AcrEventsStorage__tableServiceUri": tables}
    )
    assert isinstance(found, Identity)
    assert (found.queue_service_uri, found.table_service_uri) == (QUEUES, tables)


def test_first_queue_label_becomes_table() -> None:
    """The table URL replaces only the first queue label of the queue URL."""
    found = read({"AcrEventsStorage__queueServiceUri": "https://a.queue.b.queue.c"})
    assert isinstance(found, Identity)
    assert found.table_service_uri == "https://a.table.b.queue.c"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {},
            "AcrEventsStorage is not set, and neither is AzureWebJobsStorage: one of them must "
            "hold the connection string of the storage account (locally: "
            "UseDevelopmentStorage=true), or AcrEventsStorage__queueServiceUri its URL "
            "(https://<account>.queue.core.windows.net)",
        ),
        (
            {"AcrEventsStorage": "x", "AcrEventsStorage__accountName": "contoso"},
            "AcrEventsStorage holds a connection string, and AcrEventsStorage__queueServiceUri or "
            "AcrEventsStorage__accountName is set too: which of them is meant? Remove one",
        ),
        (
            {"AcrEventsStorage__uri": QUEUES},
            f"AcrEventsStorage__uri is not known; known are: {KNOWN}",
        ),
        (
            {"AcrEventsStorage__clientId": "7f", "AcrEventsStorage__credential": "managedidentity"},
            "AcrEventsStorage__clientId is set, but AcrEventsStorage__queueServiceUri is not",
        ),
        (
            {"AcrEventsStorage__tableServiceUri": TABLES, "AzureWebJobsStorage": "x"},
            "AcrEventsStorage__tableServiceUri is set, but AcrEventsStorage__queueServiceUri is "
            "not",
        ),
        (
            {"AcrEventsStorage__accountName": "Contoso"},
            "AcrEventsStorage__accountName must be 3 to 24 lower-case letters and digits",
        ),
        (
            {"AcrEventsStorage__queueServiceUri": "http://a"},
            "AcrEventsStorage__queueServiceUri must be an HTTPS URL without user info or query: "
            "https://<account>.queue.core.windows.net",
        ),
        (
            {"AcrEventsStorage__queueServiceUri": QUEUES, "AcrEventsStorage__tableServiceUri": "x"},
            "AcrEventsStorage__tableServiceUri must be an HTTPS URL without user info or query: "
            "https://<account>.table.core.windows.net",
        ),
        (
            {"AcrEventsStorage__accountName": "contoso", "AcrEventsStorage__credential": "key"},
            "AcrEventsStorage__credential must be managedidentity, or not set (then it is the "
            "login of the developer)",
        ),
    ],
)
def test_connection_error_names_setting_and_remedy(given: dict[str, str], message: str) -> None:
    """An invalid connection raises an error that names the setting and what to do."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read(given)


@pytest.mark.parametrize(("length", "valid"), [(2, False), (3, True), (24, True), (25, False)])
def test_account_name_length_is_limited(length: int, valid: bool) -> None:
    """An account's name has 3 to 24 characters, as Azure requires."""
    given = {"AcrEventsStorage__accountName": "a" * length}
    if valid:
        assert isinstance(read(given), Identity)
    else:
        with pytest.raises(ValueError, match="must be 3 to 24"):
            read(given)


@pytest.mark.parametrize("uri", ["https://a", "https://a-b.c:10443/x/y_z.1-2/"])
def test_https_url_is_returned_as_given(uri: str) -> None:
    """A URL with a host, a port and a path comes back unchanged."""
    assert require_https("Setting", uri, "form") == uri


@pytest.mark.parametrize("uri", ["https://a:123456", "https://a:", "xhttps://a", "https://a/%20"])
def test_url_of_other_form_is_rejected(uri: str) -> None:
    """A URL of another form raises an error that shows the required form."""
    message = "Setting must be an HTTPS URL without user info or query: form"
    with pytest.raises(ValueError, match=f"^{message}$"):
        require_https("Setting", uri, "form")
