"""When a run holds a webhook's lease, checked with a table that notes its calls."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from shared.reconcile.lease import Lease, LeaseHeldError
from tests.support.table import Table

DURATION = timedelta(seconds=60)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


class Clock(datetime):
    """A clock that stands still at `at`."""

    at = NOW

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        assert tz is UTC
        return cls.at


class Found(dict[str, Any]):
    """An entity as the table returns it."""

    metadata: ClassVar = {"etag": "theirs"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """The clock that leases use, which a test puts forward."""

    class TestClock(Clock):
        pass

    monkeypatch.setattr("shared.reconcile.lease.datetime", TestClock)
    return TestClock


def _lease(table: Table) -> Lease:
    return Lease(cast("TableClient", table), "partition", DURATION)


async def test_lease_is_renewed_after_a_third(clock: type[Clock]) -> None:
    """A run renews its lease, by its own row alone, when a third of the lease duration is over."""
    table = Table({"etag": "first"}, {"etag": "second"})
    lease = _lease(table)
    await lease.acquire_or_renew()
    clock.at = NOW + DURATION / 3 - INSTANT
    assert await lease.acquire_or_renew() is True
    assert len(table.calls) == 1
    for number, etag in enumerate(("first", "second"), 1):
        clock.at = NOW + number * DURATION / 3
        assert await lease.acquire_or_renew() is True
        name, entity, options = table.calls[-1]
        assert (name, entity["until"]) == ("update_entity", clock.at + DURATION)
        assert options == {
            "mode": UpdateMode.REPLACE,
            "etag": etag,
            "match_condition": MatchConditions.IfNotModified,
        }


async def test_released_lease_is_acquired_again() -> None:
    """A run that released its lease does not hold it, however young it is."""
    table = Table()
    lease = _lease(table)
    await lease.acquire_or_renew()
    await lease.release()
    assert await lease.acquire_or_renew() is False
    assert [name for name, *_ in table.calls] == ["create_entity", "delete_entity", "create_entity"]


@pytest.mark.parametrize("until", [NOW, NOW - INSTANT])
async def test_expired_lease_is_acquired(clock: type[Clock], until: datetime) -> None:
    """A run replaces the row of a lease whose end has come, if the row has not changed since."""
    table = Table(ResourceExistsError(), Found(until=until), {"etag": "ours"})
    assert await _lease(table).acquire_or_renew() is False
    assert [name for name, *_ in table.calls] == ["create_entity", "get_entity", "update_entity"]
    assert table.calls[1] == ("get_entity", "partition", "lease", {})
    assert table.calls[2][2]["etag"] == "theirs"


async def test_held_lease_is_not_replaced(clock: type[Clock]) -> None:
    """A run does not replace a lease that has not ended, by however little."""
    table = Table(ResourceExistsError(), Found(until=NOW + INSTANT))
    with pytest.raises(LeaseHeldError):
        await _lease(table).acquire_or_renew()
    assert len(table.calls) == 2


@pytest.mark.parametrize("error", [ResourceModifiedError(), ResourceNotFoundError()])
async def test_changed_row_means_lost_lease(clock: type[Clock], error: Exception) -> None:
    """A run that finds its row changed or gone has lost its lease, and releases nothing."""
    table = Table({"etag": "e"}, error, ResourceExistsError(), Found(until=NOW), error)
    lease = _lease(table)
    await lease.acquire_or_renew()
    clock.at = NOW + DURATION
    with pytest.raises(LeaseHeldError):
        await lease.acquire_or_renew()
    await lease.release()
    assert [name for name, *_ in table.calls] == [
        "create_entity", "update_entity", "create_entity", "get_entity", "update_entity"
    ]  # fmt: skip


async def test_lease_released_meanwhile_counts_as_held() -> None:
    """A run leaves a lease that is released during its check to the next run."""
    with pytest.raises(LeaseHeldError):
        await _lease(Table(ResourceExistsError(), ResourceNotFoundError())).acquire_or_renew()


async def test_release_never_fails() -> None:
    """Releasing a lease never fails, and asks Storage once."""
    table = Table({"etag": "e"}, HttpResponseError())
    lease = _lease(table)
    await lease.acquire_or_renew()
    await lease.release()
    await lease.release()
    assert [name for name, *_ in table.calls] == ["create_entity", "delete_entity"]
