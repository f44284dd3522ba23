"""Timestamps of RFC 3339, and their conversion to UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.timestamps import to_utc, utc_timestamp


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2017-11-17T16:52:01.343145347Z", "2017-11-17T16:52:01.3431453Z"),
        ("2019-03-05T23:45:31.2614267Z", "2019-03-05T23:45:31.2614267Z"),
        ("2019-03-05T23:45:31Z", "2019-03-05T23:45:31Z"),
        ("2019-03-05T23:45:31.5Z", "2019-03-05T23:45:31.5Z"),
        ("2019-03-05t23:45:31z", "2019-03-05T23:45:31Z"),
        ("2019-12-31T23:59:59.99999999999999999999Z", "2019-12-31T23:59:59.9999999Z"),
        ("2020-01-01T00:30:00.25+01:00", "2019-12-31T23:30:00.25Z"),
        ("2019-12-31T19:30:00-05:30", "2020-01-01T01:00:00Z"),
        ("2019-01-01T00:00:00-00:00", "2019-01-01T00:00:00Z"),
        ("2020-02-29T00:00:00Z", "2020-02-29T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_utc_has_at_most_seven_digits(text: str, utc: str) -> None:
    """A timestamp in UTC has at most seven fraction digits."""
    assert to_utc(text) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2019-03-05",
        "2019-03-05T23:45:31",
        "2019-03-05 23:45:31Z",
        "2019-03-05T23:45Z",
        "2019-03-05T23:45:31.Z",
        "2019-03-05T23:45:31,5Z",
        "2019-03-05T24:00:00Z",
        "2019-03-05T23:60:00Z",
        "2016-12-31T23:59:60Z",
        "2019-02-29T00:00:00Z",
        "2019-13-01T00:00:00Z",
        "2019-00-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2019-03-05T23:45:31+24:00",
        "2019-03-05T23:45:31+0100",
        "2019-03-05T23:45:31Z\n",
        " 2019-03-05T23:45:31Z",
        "٢٠١٩-03-05T23:45:31Z",
        "20190305T234531Z",
        "2019-W10-2T23:45:31Z",
    ],
)
def test_invalid_timestamp_raises_error(text: str) -> None:
    """A text that is not an RFC 3339 timestamp raises an error."""
    with pytest.raises(ValueError, match=r"."):
        to_utc(text)


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001 (naive by intent)
    st.integers(-23 * 60, 23 * 60),
)
def test_conversion_keeps_the_instant(at: datetime, offset: int) -> None:
    """The conversion to UTC keeps the instant."""
    local = at.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert datetime.fromisoformat(to_utc(local.isoformat())) == local.astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yesterday", "not an RFC 3339 timestamp"),
        ("0001-01-01T00:00:00+00:01", "outside the years 1 to 9999 in UTC"),
    ],
)
def test_timestamp_errors_state_the_reason(text: str, why: str) -> None:
    """A text that is not a timestamp and an instant out of range have different messages."""
    with pytest.raises(ValueError, match=f"^{why}$"):
        to_utc(text)


def test_instant_is_written_with_z() -> None:
    """An instant in UTC ends with Z, and has microseconds only if they are not zero."""
    instant = datetime(2026, 3, 2, 9, 20, 31, tzinfo=UTC)
    assert utc_timestamp(instant) == "2026-03-02T09:20:31Z"
    assert utc_timestamp(instant.replace(microsecond=5)) == "2026-03-02T09:20:31.000005Z"
