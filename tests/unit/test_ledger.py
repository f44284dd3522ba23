"""What the ledger and its leases write, checked with a table that notes its calls."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from shared.core.webhooks import Webhook
from shared.reconcile.lease import Lease
from shared.reconcile.ledger import Ledger, Row, row_key
from shared.reconcile.table import TABLE, LedgerUnavailable
from shared.storage.connections import Connection, ConnectionString, Identity, Principal
from shared.storage.credentials import TokenUnavailable
from shared.storage.transport import USER_AGENT, session
from tests.support.table import Table

WEBHOOK = Webhook.parse(
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/Contoso"
    "/webhooks/Events"
)
PARTITION = hashlib.sha256(f"webhook {WEBHOOK.id.lower()}".encode()).hexdigest()
DURATION = timedelta(seconds=60)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def _lease(table: Table) -> Lease:
    return Lease(cast("TableClient", table), f"{PARTITION}-lease", DURATION)


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    """The ledger of an account that no test connects to."""
    text = "AccountName=a;AccountKey=a2V5;TableEndpoint=https://tables.example"
    async with session() as shared:
        yield Ledger(ConnectionString("AcrEventsStorage", text), shared, lease_duration=DURATION)


def test_ledger_row_keys_are_stable() -> None:
    """The table and its row keys stay the same, so that no run recovers everything again."""
    assert TABLE == "acrrecovered"
    assert row_key("webhook", "/a\ud800") == hashlib.sha256(b"webhook /a\\ud800").hexdigest()
    digest = "8591087f20ee43ab351638843c060392db28fcb72eeb630134795ff4c684dea0"
    assert row_key("event", "x") == digest


async def test_row_has_outcome_and_queues(ledger: Ledger) -> None:
    """A row can have outcome, queues and region."""
    table = Table()
    ledger._table = cast("TableClient", table)
    await ledger.add(
        WEBHOOK, "row", NOW, outcome="accepted", queues=["a", "b"], region="westeurope"
    )
    assert table.calls[0][1] == {
        "PartitionKey": PARTITION,
        "RowKey": "row",
        "at": NOW,
        "outcome": "accepted",
        "queues": "a,b",
        "region": "westeurope",
    }


async def test_old_rows_stay_valid(ledger: Ledger) -> None:
    """A row of version 0.9.0, without outcome and queues, is a recovered delivery."""

    class Rows:
        @staticmethod
        async def query_entities(*_: object, **__: object) -> AsyncIterator[dict[str, object]]:
            yield {"RowKey": "old", "at": NOW}
            yield {"RowKey": "new", "at": NOW, "outcome": "accepted", "queues": "a,b"}

    ledger._table = cast("TableClient", Rows())
    assert await ledger.rows() == [Row("old", NOW), Row("new", NOW, "accepted", ("a", "b"))]
    assert await ledger.entries(WEBHOOK) == {"old": NOW, "new": NOW}


async def test_recovered_delivery_is_a_row(ledger: Ledger) -> None:
    """The ledger stores a recovered delivery as a row of its webhook's partition, with the time."""
    table = Table()
    ledger._table = cast("TableClient", table)
    await ledger.add(WEBHOOK, "row", NOW)
    entity = {"PartitionKey": PARTITION, "RowKey": "row", "at": NOW}
    assert table.calls == [("upsert_entity", entity, {"mode": UpdateMode.REPLACE})]


async def test_entries_are_of_one_webhook(ledger: Ledger) -> None:
    """The ledger reads the rows of one webhook with their times; a missing table has none."""
    queries: list[tuple[str, dict[str, Any]]] = []

    class Rows:
        def __init__(self, rows: list[dict[str, Any]], error: Exception | None = None) -> None:
            self._rows, self._error = rows, error

        def query_entities(self, query: str, **options: Any) -> AsyncIterator[dict[str, Any]]:
            queries.append((query, options))
            return self._read()

        async def _read(self) -> AsyncIterator[dict[str, Any]]:
            if self._error:
                raise self._error
            for each in self._rows:
                yield each

    ledger._table = cast("TableClient", Rows([{"RowKey": "a", "at": NOW}]))
    assert await ledger.entries(WEBHOOK) == {"a": NOW}
    options = {"parameters": {"partition": PARTITION}, "select": ["RowKey", "at"]}
    assert queries == [("PartitionKey eq @partition", options)]
    ledger._table = cast("TableClient", Rows([], ResourceNotFoundError()))
    assert await ledger.entries(WEBHOOK) == {}


async def test_rows_are_removed_by_hundreds(ledger: Ledger) -> None:
    """The ledger deletes rows in transactions of 100, the most that Storage accepts."""
    table = Table()
    ledger._table = cast("TableClient", table)
    rows = [str(number) for number in range(201)]
    await ledger.remove(WEBHOOK, rows)
    deleted = [("delete", {"PartitionKey": PARTITION, "RowKey": name}) for name in rows]
    assert table.calls == [
        ("submit_transaction", part, {})
        for part in (deleted[:100], deleted[100:200], deleted[200:])
    ]


async def test_lease_row_holds_its_end(ledger: Ledger) -> None:
    """A lease is a row of a partition of its own that holds its end."""
    table = Table()
    ledger._table = cast("TableClient", table)
    lease = ledger.lease(WEBHOOK)
    before = datetime.now(UTC)
    assert await lease.acquire_or_renew() is False
    [(name, entity, _)] = table.calls
    assert name == "create_entity"
    assert entity.keys() == {"PartitionKey", "RowKey", "until"}
    assert (entity["PartitionKey"], entity["RowKey"]) == (f"{PARTITION}-lease", "lease")
    assert before + DURATION <= entity["until"] <= datetime.now(UTC) + DURATION
    assert await lease.acquire_or_renew() is True
    await lease.release()
    await lease.release()
    condition = {"etag": "e", "match_condition": MatchConditions.IfNotModified}
    assert table.calls[1:] == [("delete_entity", f"{PARTITION}-lease", "lease", condition)]


async def test_missing_table_is_created() -> None:
    """Acquiring a lease creates a missing table, even where another run creates it meanwhile."""
    for meanwhile in (None, ResourceExistsError()):
        table = Table(ResourceNotFoundError(), meanwhile)
        assert await _lease(table).acquire_or_renew() is False
        names = [name for name, *_ in table.calls]
        assert names == ["create_entity", "create_table", "create_entity"]


def _response_error(status: int) -> HttpResponseError:
    error = HttpResponseError("secret")
    error.status_code = status
    return error


ROLE = "an identity needs the role Storage Table Data Contributor"
AGAIN = "the next run tries again"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_response_error(401), f"(401): {ROLE}"),
        (_response_error(403), f"(403): {ROLE}"),
        (_response_error(500), f"(500): {AGAIN}"),
        (HttpResponseError("secret"), f"(HttpResponseError): {AGAIN}"),
        (TimeoutError(), f"(TimeoutError): {AGAIN}"),
        (TokenUnavailable(), f"(TokenUnavailable): {TokenUnavailable()}"),
    ],
)
async def test_ledger_error_names_the_remedy(error: Exception, message: str) -> None:
    """A failed call raises an error with its status or class and the remedy, and quotes nothing."""
    with pytest.raises(LedgerUnavailable) as caught:
        await _lease(Table(error)).acquire_or_renew()
    assert str(caught.value) == f"the table acrrecovered cannot be used {message}"
    assert caught.value.__cause__ is error


async def test_table_client_retries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's client retries a call once and names the app and its version."""
    given: dict[str, Any] = {}

    class Service:
        @staticmethod
        def from_connection_string(value: str, **options: Any) -> "Service":
            given.update(options, value=value)
            return Service()

        def get_table_client(self, name: str) -> None:
            given["table"] = name

    monkeypatch.setattr("shared.reconcile.table.TableServiceClient", Service)
    async with session() as shared:
        Ledger(ConnectionString("AcrEventsStorage", "text"), shared, lease_duration=DURATION)
    assert given.pop("transport")
    assert given == {
        "value": "text", "table": "acrrecovered", "retry_total": 1, "user_agent": USER_AGENT
    }  # fmt: skip


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (
            Identity("Name", "https://q.example", None, Principal(managed=True, client_id=None)),
            "^Name__tableServiceUri is not set: it must be the URL of the account's tables$",
        ),
        (
            ConnectionString("Name", "QueueEndpoint=https://q.example"),
            "^Name leads to no tables: Connection string",
        ),
    ],
)
async def test_account_without_tables_names_setting(connection: Connection, message: str) -> None:
    """An account without a known table URL raises an error with its setting's name at startup."""
    async with session() as shared:
        with pytest.raises(ValueError, match=message):
            Ledger(connection, shared, lease_duration=DURATION)
